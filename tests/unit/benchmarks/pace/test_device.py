"""The device of `benchmarks.pace`: as slow as it says, and with the answers that it was given."""

from __future__ import annotations

import time
from concurrent.futures import Future

import numpy as np
import pytest

from benchmarks.pace.device import DeviceTimes, SleptRunner
from worker.engine.model_input import ModelInput
from worker.engine.sequence import Sequence

_ANSWER = [(5, True, False), (6, False, False), (1, False, True)]


def _sequence(slot: int) -> Sequence:
    job = ModelInput(np.zeros((1, 1, 3), np.uint8), [1], b"")
    return Sequence(job, Future(), slot=slot)


def test_the_times_at_224_px_are_those_of_the_device() -> None:
    assert DeviceTimes.of_side(224) == DeviceTimes(0.002, 0.0015)


def test_larger_images_take_as_much_longer_as_they_have_tokens() -> None:
    times = DeviceTimes.of_side(448)
    assert times.prefill_s == pytest.approx(0.002 * 1032 / 264)
    assert 0.0025 < times.step_s < 0.0027


def test_steps_run_one_after_the_other() -> None:
    runner = SleptRunner(DeviceTimes(0.02, 0.01), iter([_ANSWER, _ANSWER]))
    both = [_sequence(0), _sequence(1)]
    begin = time.perf_counter()
    runner.prefill(both)
    runner.decode(both).read()
    assert time.perf_counter() - begin >= 0.05


def test_each_slot_writes_its_answer_and_then_nothing_more() -> None:
    runner = SleptRunner(DeviceTimes(0, 0), iter([_ANSWER]))
    one = [_sequence(3)]
    steps = [runner.prefill(one), *(runner.decode(one) for _ in range(3))]
    written = [step.read()[0] for step in steps]
    assert [each.token_id for each in written[:3]] == [5, 6, 1]
    assert [each.is_end for each in written] == [False, False, True, True]
