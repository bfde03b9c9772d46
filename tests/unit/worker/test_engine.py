import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError

import numpy as np
import pytest

from shared.errors import InferenceFailed
from worker.engine.engine import Engine
from worker.engine.runner import Answer
from worker.preprocess import ModelInput

_POISON = 666


class ScriptedRunner:
    """Answers each job with its own tokens, fails on poison, and can be held back."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Event()

    def run(self, inputs: list[ModelInput], before_step: Callable[[], Collection[int]]) -> list[Answer]:
        self.running.set()
        assert self.gate.wait(10)
        names = [each.token_ids[0] for each in inputs]
        self.batches.append(names)
        if _POISON in names:
            raise RuntimeError("poison")
        return [Answer([name], [0.0], truncated=False, batch_size=len(names)) for name in names]


def _job(name: int) -> ModelInput:
    return ModelInput(np.zeros((3, 2, 2), np.float32), [name])


@pytest.fixture
def runner() -> ScriptedRunner:
    return ScriptedRunner()


@pytest.fixture
def engine(runner: ScriptedRunner) -> Iterator[Engine]:
    engine = Engine(runner, max_batch=4)
    yield engine
    runner.gate.set()
    engine.close()


def _hold(engine: Engine, runner: ScriptedRunner) -> None:
    """Keep the engine busy with one job, so that those after it wait."""
    runner.gate.clear()
    engine.submit(_job(0))
    assert runner.running.wait(10)


def test_every_job_gets_its_own_answer(engine: Engine) -> None:
    futures = [engine.submit(_job(name)) for name in range(20)]
    assert [future.result(10).token_ids for future in futures] == [[name] for name in range(20)]


def test_what_waits_is_answered_together_in_the_order_of_arrival(engine: Engine, runner: ScriptedRunner) -> None:
    _hold(engine, runner)
    futures = [engine.submit(_job(name)) for name in range(1, 7)]
    runner.gate.set()
    assert [future.result(10).batch_size for future in futures] == [4, 4, 4, 4, 2, 2]
    assert runner.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_poisonous_job_fails_alone(engine: Engine, runner: ScriptedRunner) -> None:
    _hold(engine, runner)
    good, bad, other = (engine.submit(_job(name)) for name in (1, _POISON, 2))
    runner.gate.set()
    assert (good.result(10).token_ids, other.result(10).token_ids) == ([1], [2])
    with pytest.raises(InferenceFailed):
        bad.result(10)
    assert engine.submit(_job(3)).result(10).token_ids == [3]


def test_a_job_canceled_while_it_waits_is_never_run(engine: Engine, runner: ScriptedRunner) -> None:
    _hold(engine, runner)
    canceled, kept = engine.submit(_job(1), lambda: True), engine.submit(_job(2))
    runner.gate.set()
    assert kept.result(10).token_ids == [2]
    with pytest.raises(CancelledError):
        canceled.result(10)


def test_closing_answers_what_waits_and_takes_no_more(runner: ScriptedRunner) -> None:
    engine = Engine(runner, max_batch=4)
    _hold(engine, runner)
    waiting = engine.submit(_job(1))
    runner.gate.set()
    engine.close()
    assert waiting.result(0).token_ids == [1]
    with pytest.raises(InferenceFailed):
        engine.submit(_job(2))
