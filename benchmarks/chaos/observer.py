"""Reads the accepted jobs while faults happen: each when it has just ended, and once more at the end of the run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from benchmarks.chaos.clients import ClientJob
from benchmarks.chaos.oracle import ENDED

_THREADS = 4
_AT_ONCE = 200
_PAUSE_S = 0.2
_SAY_S = 10.0
_READ_S = 60.0
"""How long a job is read again and again that the service knows and does not show."""
_SHORT = ("status", "completed_at", "attempt", "error")
"""What a list shows of a job, by which a new end is noticed."""


class Observer:
    """Reads the jobs of a list that may grow, while the context lasts."""

    def __init__(self, url: str, jobs: Sequence[ClientJob], more: Callable[[], Iterable[ClientJob]] = tuple) -> None:
        """`more` returns further jobs: all that were accepted so far."""
        self._jobs = jobs
        self._more = more
        self._client = httpx2.Client(base_url=url, timeout=10)
        self._pool = ThreadPoolExecutor(_THREADS)
        self._ended: dict[str, dict[str, Any]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer")

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()
        self._client.close()

    def jobs(self) -> list[ClientJob]:
        """All jobs that were accepted."""
        return [job for job in [*self._jobs, *self._more()] if job.ids]

    def wait_for_ends(self, max_s: float) -> dict[str, dict[str, Any]]:
        """The jobs that ended within `max_s` seconds, by their keys, each as it was seen first after its end."""
        deadline = time.monotonic() + max_s
        while time.monotonic() < deadline and len(self._ended) < len(self.jobs()):
            time.sleep(_PAUSE_S)
        self._stopped.set()
        self._thread.join()
        return dict(self._ended)

    def read_again(self) -> dict[str, dict[str, Any]]:
        """All jobs as they are now, by their keys, without those that the service does not know. A job whose entry in
        the list is what it was at its first end is not read once more."""
        listed = {view["id"]: _short(view) for view in self._list()}
        same = {
            job.key: self._ended[job.key]
            for job in self.jobs()
            if job.key in self._ended and listed.get(job.job_id) == _short(self._ended[job.key])
        }
        return {**same, **self._read_all([job for job in self.jobs() if job.key not in same])}

    def _run(self) -> None:
        say_at = 0.0
        while not self._stopped.wait(_PAUSE_S):
            accepted = self.jobs()
            pending = [job for job in accepted if job.key not in self._ended]
            found = self._read_some(pending[:_AT_ONCE]).items()
            self._ended.update({key: job for key, job in found if job["status"] in ENDED})
            if time.monotonic() > say_at:
                say_at = time.monotonic() + _SAY_S
                print(f"{len(accepted)} accepted, {len(self._ended)} seen to have ended", file=sys.stderr, flush=True)

    def _read_some(self, jobs: Sequence[ClientJob]) -> dict[str, dict[str, Any]]:
        """Those of the jobs that the service shows now."""
        responses = self._pool.map(lambda job: self._get(f"/jobs/{job.job_id}"), jobs)
        pairs = zip(jobs, responses, strict=True)
        return {job.key: response.json() for job, response in pairs if response and response.status_code == 200}

    def _read_all(self, jobs: Sequence[ClientJob]) -> dict[str, dict[str, Any]]:
        """Those of the jobs that the service knows. Each is asked for until there is an answer."""
        responses = self._pool.map(lambda job: self._answer(f"/jobs/{job.job_id}"), jobs)
        pairs = zip(jobs, responses, strict=True)
        return {job.key: response.json() for job, response in pairs if response.status_code == 200}

    def _list(self) -> Iterable[dict[str, Any]]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._answer("/jobs", limit=100, cursor=cursor).json()
            yield from page["jobs"]
            cursor = page["next_cursor"]

    def _answer(self, path: str, **query: Any) -> httpx2.Response:
        """The answer of the service to a question that it can answer: 200 or 404."""
        deadline = time.monotonic() + _READ_S
        while time.monotonic() < deadline:
            response = self._get(path, **query)
            if response and response.status_code in (200, 404):
                return response
            time.sleep(_PAUSE_S)
        raise TimeoutError(f"the service did not answer {path}")

    def _get(self, path: str, **query: Any) -> httpx2.Response | None:
        try:
            return self._client.get(path, params=query)
        except httpx2.HTTPError:
            return None


def _short(job: Mapping[str, Any]) -> dict[str, Any]:
    return {name: job[name] for name in _SHORT}
