"""Jobs with known results, and clients that retry until a job has ended."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import httpx2

from evaluation.datasets.scenes import scene_examples
from evaluation.engine_predictor import engine_predictor
from evaluation.example import Example, TrueObject
from evaluation.scoring import predicted_objects, score
from shared.domain.result import SegmentationResult
from shared.settings import Settings
from tests.e2e.compose.receiver import Receiver
from tests.e2e.compose.shell import TrialFailed

_CLIENTS = 8
_RETRY_S = 0.3
_MAX_S = 240.0
_SAME = 0.98
"""Minimum IoU. Jobs in a batch are summed in another order, which can shift the edge of a mask by a pixel."""


class KnownJobs:
    """Examples from drawn scenes. The ground truth is the prediction of an engine in this process."""

    def __init__(self, scenes: int) -> None:
        with engine_predictor(Settings.of(max_batch=1)) as (answer, _):
            self.questions = [_answered(each, answer(each)) for each in scene_examples(scenes, first=9_000)]

    def is_right(self, number: int, job: dict[str, Any]) -> bool:
        """Whether the job for example `number` ended with the right result."""
        if job["status"] != "succeeded":
            return False
        scored = score(self.questions[number], SegmentationResult.model_validate(job["result"]))
        return not scored.extra and all(each.iou >= _SAME for each in scored.objects)


def _answered(question: Example, result: SegmentationResult) -> Example:
    truths = [TrueObject(each.label, each.box, each.mask) for each in predicted_objects(result)]
    return replace(question, ground_truth=truths)


class Clients:
    """Clients that submit many jobs and wait for each, and retry after every failure."""

    def __init__(self, url: str, known: KnownJobs, receiver: Receiver) -> None:
        self._known = known
        self.receiver = receiver
        """Receives a webhook when a job ends."""
        self._client = httpx2.Client(base_url=url, timeout=40)
        self._pool = ThreadPoolExecutor(_CLIENTS)
        self._waiters = ThreadPoolExecutor(_CLIENTS)
        self._has_given_up = False
        self.accepted: set[str] = set()
        """Ids of all jobs accepted so far."""
        self.refusals: Counter[str] = Counter()
        """Numbers of other status codes than the expected one, and of broken connections."""

    def start(self, jobs: int) -> list[Future[dict[str, Any]]]:
        """Submit so many jobs. Returns at once; each future gets the number of its example and the job's path."""
        return [self._pool.submit(self._submit, number % len(self._known.questions)) for number in range(jobs)]

    def results(self, submitted: Sequence[Future[dict[str, Any]]]) -> dict[str, int]:
        """Wait for all jobs to end. Returns how many there are, and how many of those are lost or wrong."""
        wait(submitted)
        ended = list(self._waiters.map(self._end_of, [each.result() for each in submitted]))
        numbers = [each.result()["number"] for each in submitted]
        pairs = list(zip(numbers, ended, strict=True))
        return {
            "jobs": len(ended),
            "lost": sum(job is None for job in ended),
            "wrong": sum(job is not None and not self._known.is_right(number, job) for number, job in pairs),
        }

    def _submit(self, number: int) -> dict[str, Any]:
        question = self._known.questions[number]
        headers, files = {"Idempotency-Key": str(uuid.uuid4())}, {"image_file": ("scene.png", question.read_image())}
        fields = {"prompt": question.prompt, "webhook_url": self.receiver.url}
        job = self._request("POST", "/segment/", 202, headers=headers, data=fields, files=files)
        self.accepted.add(job["id"])
        return {"number": number, "path": f"/jobs/{job['id']}"}

    def _end_of(self, submitted: dict[str, Any]) -> dict[str, Any] | None:
        """The job after its end; None if it does not end in time."""
        deadline = time.monotonic() + _MAX_S
        while time.monotonic() < deadline and not self._has_given_up:
            job = self._request("GET", submitted["path"], 200, params={"wait": 10})
            if job["status"] not in ("queued", "processing"):
                return job
        return None

    def _request(self, method: str, path: str, wanted: int, **content: Any) -> dict[str, Any]:
        deadline = time.monotonic() + _MAX_S
        while time.monotonic() < deadline and not self._has_given_up:
            try:
                answer = self._client.request(method, path, **content)
            except httpx2.HTTPError:
                self.refusals["broken connection"] += 1
            else:
                if answer.status_code == wanted:
                    body: dict[str, Any] = answer.json()
                    return body
                self.refusals[str(answer.status_code)] += 1
            time.sleep(_RETRY_S)
        raise TrialFailed(f"{method} {path} did not return {wanted} in {_MAX_S:g} s")

    def give_up(self) -> None:
        """Stop all waiting and retrying."""
        self._has_given_up = True

    def close(self) -> None:
        self._pool.shutdown()
        self._waiters.shutdown()
        self._client.close()
