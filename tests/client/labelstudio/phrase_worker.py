"""A scripted worker that finds one object for each phrase of the prompt, named as the phrase.

    python -m tests.client.labelstudio.phrase_worker

`mask_of` draws the objects. Of a `nothing` there is none, a `box` has no mask, and a `faint` thing has a low score. A
job for something `slow` takes a second, and something `whole` fills the image. A job for something that `fails at 64`
fails if the image is 64 pixels wide.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shared.domain.job import JobRequest
from shared.domain.paligemma import TASK
from shared.domain.result import ImageSize, SegmentationResult
from shared.errors import InferenceFailed
from shared.images.inspect import inspect_image
from shared.process import entry_point
from shared.registry import served_model
from shared.settings import Settings
from testing.scripted_worker import IdleEngine
from worker.app import run_worker
from worker.jobs import in_threads
from worker.pipeline_result import PipelineResult
from worker.service import WorkerService
from worker.stages.pixel_mask import RunMask
from worker.stages.place import FoundObject
from worker.stages.render import render_object
from worker.stages.select import split_by_score

SCORE, FAINT_SCORE = 0.9, 0.2
_SLOW_S = 1.0


def mask_of(phrase: str, width: int, height: int) -> npt.NDArray[np.bool_]:
    """A rectangle with a hole in it, and one pixel beside it. The phrase decides where it is."""
    if "whole" in phrase:
        return np.ones((height, width), bool)
    digest = hashlib.sha256(phrase.encode()).digest()
    x, y = digest[0] % (width - 12), digest[1] % (height - 8)
    mask = np.zeros((height, width), bool)
    mask[y : y + 8, x : x + 9] = True
    mask[y + 2 : y + 4, x + 3 : x + 6] = False
    mask[y + 4, x + 11] = True
    return mask


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


class PhrasePipeline:
    """Answers at once."""

    def close(self) -> None:
        """Nothing to close."""

    def run(
        self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        if "slow" in request.prompt:
            time.sleep(_SLOW_S)
        header = inspect_image(image_bytes, max_pixels=100_000_000)
        phrases = request.prompt.removeprefix(f"{TASK} ").split(" ; ")
        if f"fails at {header.width}" in phrases:
            raise InferenceFailed("as the prompt asked for")
        found = [_found(phrase, header.width, header.height) for phrase in phrases if phrase != "nothing"]
        kept, _ = split_by_score(found, request.score_threshold)
        objects = [render_object(each, request.mask_formats) for each in kept]
        size = ImageSize(width=header.width, height=header.height)
        result = SegmentationResult(image=size, objects=objects, skipped=[], truncated=False, raw_text="")
        return PipelineResult(result, model_s=0, batch_size=1)


def _found(phrase: str, width: int, height: int) -> FoundObject:
    pixels = mask_of(phrase, width, height)
    score = FAINT_SCORE if "faint" in phrase else SCORE
    flat = pixels.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(np.concatenate([[0], changes, [len(flat)]]))
    mask = None if "box" in phrase else RunMask(runs, box_of(pixels), width, height)
    view = (0, 0, width, height)
    return FoundObject(phrase, score, score, box_of(pixels), mask, view, width, height)


def start(
    settings: Settings, notify_worker: Callable[[], None], notify_webhooks: Callable[[str], None]
) -> WorkerService:
    """Start a worker's service with this pipeline. Arguments as in `WorkerService`."""
    name = served_model(settings.model).name
    jobs = in_threads(PhrasePipeline(), settings.worker.worker_threads)
    service = WorkerService.connect(settings, name, jobs, IdleEngine(), notify_worker, notify_webhooks)
    service.start()
    return service


if __name__ == "__main__":
    entry_point.run(lambda: run_worker(start))
