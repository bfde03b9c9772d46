"""Clients of the chaos runs: what each submits, and how it retries until it is accepted."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

from evaluation.datasets.scenes import scene_examples
from evaluation.http_predictor import Service, http_predictor
from shared.domain.result import SegmentationResult
from testing.pictures import small_png
from testing.scripted_pipeline import POISON, scripted_answer

_RETRY_S = 0.2
_MAX_S = 300.0
"""A client that is refused for so long ends the run."""
_THREADS = 24


@dataclass
class ClientJob:
    """A job as its client knows it: what it submits, and what it was answered."""

    prompt: str
    image: bytes
    expected: SegmentationResult | None
    """The right result. None: the job kills workers."""
    timeout_s: float | None
    is_cancel_wanted: bool
    is_repeated: bool
    """Whether the client submits it once more although it was accepted."""
    webhook_url: str = ""
    """Empty: none."""
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Its `Idempotency-Key`."""
    ids: list[str] = field(default_factory=list)
    """The ids that were answered, each once. More than one is a mistake of the service."""
    submits: int = 0
    is_cancel_sent: bool = False
    is_cancel_granted: bool = False

    @property
    def job_id(self) -> str:
        """The id that was answered last."""
        return self.ids[-1]

    def submission(self) -> dict[str, Any]:
        """Arguments of the request that submits it."""
        data = {"prompt": self.prompt, "webhook_url": self.webhook_url}
        timeout = {"timeout": str(self.timeout_s)} if self.timeout_s else {}
        files = {"image_file": ("a.png", self.image)}
        return {"headers": {"Idempotency-Key": self.key}, "data": {**data, **timeout}, "files": files}

    def accept(self, job_id: str) -> None:
        """It was answered 202 with this id."""
        if job_id not in self.ids:
            self.ids.append(job_id)


class ChaosClients:
    """Submit at an even rate and retry until accepted; some submit twice, and some cancel."""

    def __init__(self, url: str, jobs: Sequence[ClientJob], seconds: float) -> None:
        self._url = url
        self._jobs = jobs
        self._interval_s = seconds / len(jobs)
        self.refusals: Counter[str] = Counter()
        """Responses other than 202, by status, and connections that broke."""

    def run(self) -> None:
        """Return when every job was accepted."""
        begin = time.monotonic()
        with ThreadPoolExecutor(_THREADS) as pool, httpx2.Client(base_url=self._url, timeout=10) as client:

            def run_one(number: int) -> None:
                time.sleep(max(0.0, begin + number * self._interval_s - time.monotonic()))
                self._run_one(client, self._jobs[number])

            list(pool.map(run_one, range(len(self._jobs))))

    def _run_one(self, client: httpx2.Client, job: ClientJob) -> None:
        self._submit(client, job)
        if job.is_repeated:
            self._submit(client, job)
        if job.is_cancel_wanted:
            self._cancel(client, job)

    def _submit(self, client: httpx2.Client, job: ClientJob) -> None:
        deadline = time.monotonic() + _MAX_S
        while time.monotonic() < deadline:
            job.submits += 1
            response = self._post(client, "/segment/", **job.submission())
            if response is not None and response.status_code == 202:
                job.accept(response.json()["id"])
                return
            time.sleep(_RETRY_S)
        raise TimeoutError(f"a job was not accepted within {_MAX_S:g} s")

    def _cancel(self, client: httpx2.Client, job: ClientJob) -> None:
        job.is_cancel_sent = True
        response = self._post(client, f"/jobs/{job.job_id}/cancel")
        job.is_cancel_granted = response is not None and response.status_code == 202

    def _post(self, client: httpx2.Client, path: str, **content: Any) -> httpx2.Response | None:
        """The response, or None if the connection broke, so that nobody knows whether the request was served."""
        try:
            response = client.post(path, **content)
        except httpx2.HTTPError:
            self.refusals["broken connection"] += 1
            return None
        if response.status_code != 202:
            self.refusals[str(response.status_code)] += 1
        return response


def scripted_jobs(jobs: int, poison: int, chance: random.Random) -> list[ClientJob]:
    """Jobs for the scripted worker, with their right results. `poison` of them, all in the first half, kill workers."""
    poisonous = set(chance.sample(range(jobs // 2), poison))
    return [_scripted_job(number, chance, is_poison=number in poisonous) for number in range(jobs)]


def _scripted_job(number: int, chance: random.Random, *, is_poison: bool) -> ClientJob:
    prompt = POISON if is_poison else f"thing {number}"
    image = small_png() + str(number).encode()  # bytes after the end of a PNG are ignored, but make it another image
    if is_poison:
        return ClientJob(prompt, image, None, None, is_cancel_wanted=False, is_repeated=False)
    return ClientJob(prompt, image, scripted_answer(f"segment {prompt}", image), **_random_behavior(chance))


def probe_jobs() -> Iterator[ClientJob]:
    """Further jobs for the scripted worker, without end: each is submitted once, and nothing else is done to it."""
    for number in itertools.count():
        prompt, image = f"probe {number}", small_png() + f"probe {number}".encode()
        right = scripted_answer(f"segment {prompt}", image)
        yield ClientJob(prompt, image, right, None, is_cancel_wanted=False, is_repeated=False)


def demo_jobs(jobs: int, chance: random.Random, url: str) -> list[ClientJob]:
    """Jobs for the demo checkpoint. The right result is what the service at `url` returns before any fault."""
    with http_predictor(Service(url)) as answer:
        known = [(each.prompt, each.read_image(), answer(each)) for each in scene_examples(20, first=7_000)]
    return [ClientJob(*chance.choice(known), **_random_behavior(chance)) for _ in range(jobs)]


def _random_behavior(chance: random.Random) -> dict[str, Any]:
    return {
        "timeout_s": chance.choice((0.3, 2.0, 600.0)) if chance.random() < 0.1 else None,
        "is_cancel_wanted": chance.random() < 0.06,
        "is_repeated": chance.random() < 0.06,
    }
