"""Runs every shape of step that jobs will need, before the first job. The first run of a shape costs more: a graph is
captured, and libraries load and choose their kernels."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from worker.engine.grammar import FREE
from worker.engine.model_input import ModelInput
from worker.engine.runner import Runner, StepShape
from worker.engine.sequence import Sequence

_PROMPT_TOKENS = 8
"""Of a typical prompt. Prefills of other lengths use the same kernels."""
_IN_OBJECT = FREE + 1


def warm_up(runner: Runner, *, side: int, image_tokens: int, prefill_tokens: int) -> None:
    """Run the shapes of a runner that has no sequences. `side` is that of images, in pixels, and `image_tokens` the
    number of tokens of one. What it writes into slots is overwritten when sequences start.

    Raises:
        StepOutOfMemory, DeviceLost: a step failed.
    """
    pixels = np.zeros((side, side, 3), np.uint8)
    sample = ModelInput(pixels, [0] * (image_tokens + _PROMPT_TOKENS), b"")
    for count in runner.prefill_sizes(prefill_tokens // len(sample.token_ids)):
        runner.prefill([_starting(sample, slot) for slot in range(count)]).read()
    for shape in runner.shapes(image_tokens + 1):
        runner.decode([_at(sample, shape)]).read()
    runner.forget_images()


def _starting(sample: ModelInput, slot: int) -> Sequence:
    return Sequence(replace(sample, image_digest=b"warm-up %d" % slot), Future(), slot=slot)


def _at(sample: ModelInput, shape: StepShape) -> Sequence:
    """The sequence whose next step has this shape."""
    length = replace(sample, token_ids=[0] * shape.visible)
    return Sequence(length, Future(), slot=shape.batch - 1, phase=FREE if shape.any_free else _IN_OBJECT)
