"""A client that submits a job every 100 ms, to measure for how long the service does not serve."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx2

from benchmarks.chaos.clients import ClientJob
from benchmarks.chaos.faults import Fault

EVERY_S = 0.1
_TIMEOUT_S = 3.0
_THREADS = int(_TIMEOUT_S / EVERY_S) + 4
"""Enough for a new request although all those before it get no answer."""


class Prober:
    """Submits while the context lasts. Each job is submitted once; one that is refused is given up."""

    def __init__(self, url: str, jobs: Iterable[ClientJob]) -> None:
        self._url = url
        self._jobs = iter(jobs)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prober")
        self._accepted: list[tuple[float, float, ClientJob]] = []
        """When each was sent and when it was accepted, in seconds of the monotonic clock."""

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def accepted(self) -> list[ClientJob]:
        """The jobs that were accepted."""
        return [job for _, _, job in list(self._accepted)]

    def served_again_s(self, fault: Fault) -> float | None:
        """How long after a fault the first job was accepted that was submitted after it. None: none was."""
        later = [accepted for sent, accepted, _ in self._accepted if sent >= fault.at]
        return min(later) - fault.at if later else None

    def longest_without_service_s(self) -> float:
        """The longest time between two jobs that were accepted."""
        times = sorted(accepted for _, accepted, _ in self._accepted)
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def _run(self) -> None:
        begin = time.monotonic()
        limits = httpx2.Limits(max_connections=_THREADS)
        with (
            httpx2.Client(base_url=self._url, timeout=_TIMEOUT_S, limits=limits) as client,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            for number, job in enumerate(self._jobs):
                if self._stopped.wait(max(0.0, begin + number * EVERY_S - time.monotonic())):
                    return
                pool.submit(self._probe, client, job)

    def _probe(self, client: httpx2.Client, job: ClientJob) -> None:
        sent, job.submits = time.monotonic(), 1
        try:
            response = client.post("/segment/", **job.submission())
        except httpx2.HTTPError:
            return
        if response.status_code == 202:
            job.accept(response.json()["id"])
            self._accepted.append((sent, time.monotonic(), job))
