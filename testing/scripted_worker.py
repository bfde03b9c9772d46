"""A real worker whose model is a script: it takes a while, and its answer follows from the image and the prompt.

    python -m testing.scripted_worker

All else is the service's own: Celery, the store, leases, duties. So what clients get can be checked without a model,
and a worker is up in a second. `SCRIPTED_MS` says how long a job takes; one with `slow` in its prompt takes 20 times as
long, and one with `poison` kills the process.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError

from shared.domain.coco_rle import runs_to_counts
from shared.domain.job import JobRequest
from shared.domain.result import ImageSize, RleMask, SegmentationResult, SegmentedObject
from shared.images.inspect import inspect_image
from shared.process import entry_point
from shared.registry import served_model
from shared.settings import Settings
from worker.app import run_worker
from worker.segmentation import Segmentation
from worker.service import WorkerService

POISON = "poison"
SLOW = "slow"
_SLOWNESS = 20
_POLL_S = 0.005


def scripted_answer(prompt: str, image: bytes) -> SegmentationResult:
    """The one right result for a prompt, in the model's form, and an image: a mask of one pixel, chosen by both."""
    header = inspect_image(image, max_pixels=1_000_000)
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
    """Takes `work_s` seconds for a job, and asks all the while whether anybody still waits for it."""

    def __init__(self, work_s: float) -> None:
        self._work_s = work_s

    def close(self) -> None:
        """Nothing runs."""

    def run(self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool]) -> Segmentation:
        if POISON in request.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        done_at = time.monotonic() + self._work_s * (_SLOWNESS if SLOW in request.prompt else 1)
        while time.monotonic() < done_at:
            if is_canceled():
                raise CancelledError
            time.sleep(min(_POLL_S, self._work_s))
        return Segmentation(scripted_answer(request.prompt, image_bytes), model_s=self._work_s, batch_size=1)


class IdleEngine:
    """For the service to watch: the script needs no engine."""

    stuck_s = 0.0

    def stats(self) -> Mapping[str, float]:
        """None."""
        return {}


def start_scripted(settings: Settings, ring: Callable[[], None], ring_webhooks: Callable[[str], None]) -> WorkerService:
    """A service on its duties, with a script where the model would be."""
    pipeline = ScriptedPipeline(float(os.environ.get("SCRIPTED_MS", "20")) / 1000)
    service = WorkerService(settings, served_model(settings.model).name, pipeline, IdleEngine(), ring, ring_webhooks)
    service.start()
    return service


if __name__ == "__main__":
    entry_point.run(lambda: run_worker(start_scripted))
