"""A script instead of a model: it waits, and computes its answer from the image and the prompt.

`SCRIPTED_MS` is the duration of a job in milliseconds. A job with `slow` in its prompt takes 20 times as long, one with
`endless` until it is canceled, and one with `poison` kills the process that runs it.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import CancelledError

from shared.domain.coco_rle import runs_to_counts
from shared.domain.job import JobRequest
from shared.domain.result import ImageSize, RleMask, SegmentationResult, SegmentedObject
from shared.images.inspect import inspect_image
from worker.pipeline_result import PipelineResult

POISON = "poison"
SLOW = "slow"
ENDLESS = "endless"
_SLOWNESS = 20
_POLL_S = 0.005


def scripted_answer(prompt: str, image: bytes) -> SegmentationResult:
    """The only correct result for a normalized prompt and an image: a mask of one pixel, which both determine."""
    header = inspect_image(image, max_pixels=100_000_000)
    digest = hashlib.sha256(prompt.encode() + b"\n" + image).hexdigest()
    pixel = int(digest, 16) % (header.width * header.height)
    x, y = divmod(pixel, header.height)
    runs = [pixel, 1, header.width * header.height - pixel - 1]
    found = SegmentedObject(
        label=prompt,
        score=1.0,
        box=(x, y, x + 1, y + 1),
        area=1,
        mask=RleMask(size=(header.height, header.width), counts=runs_to_counts(runs)),
    )
    size = ImageSize(width=header.width, height=header.height)
    return SegmentationResult(image=size, objects=[found], skipped=[], truncated=False, raw_text=digest)


class ScriptedPipeline:
    """Takes `SCRIPTED_MS` for a job, and stops early if it is canceled."""

    def __init__(self) -> None:
        self._work_s = float(os.environ.get("SCRIPTED_MS", "20")) / 1000

    def close(self) -> None:
        """Nothing to close."""

    def run(
        self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        if POISON in request.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        slowness = math.inf if ENDLESS in request.prompt else _SLOWNESS if SLOW in request.prompt else 1
        done_at = time.monotonic() + self._work_s * slowness
        while time.monotonic() < done_at:
            if is_canceled():
                raise CancelledError
            time.sleep(min(_POLL_S, self._work_s))
        return PipelineResult(scripted_answer(request.prompt, image_bytes), model_s=self._work_s, batch_size=1)
