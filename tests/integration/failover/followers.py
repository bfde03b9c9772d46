"""Clients that follow one job: a long poll and a stream of events. Neither tries again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

_MAX_S = 60.0


@dataclass
class Followers:
    """The requests of both, which are open."""

    poll: Future[tuple[int, Any]]
    """Status and document of its answer."""
    stream: Future[list[str]]
    """Its states after the first one, once it has ended."""

    def require_open(self) -> None:
        """Check that neither has been answered in full."""
        for request in (self.poll, self.stream):
            assert not request.done(), request.result()

    def require_success(self) -> None:
        """Check that both have seen the job succeed."""
        status, job = self.poll.result(_MAX_S)
        assert (status, job.get("status")) == (200, "succeeded"), job
        assert self.stream.result(_MAX_S)[-1:] == ["succeeded"]


@contextmanager
def following(port: int, job_id: str, headers: Mapping[str, str] = {}) -> Iterator[Followers]:
    """Follow a job that runs. Both are waiting when the context begins."""
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(2))
        connections = [stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=_MAX_S))) for _ in "123"]
        poll, stream, later = connections
        poll.request("GET", f"/jobs/{job_id}?wait=40", headers=headers)
        stream.request("GET", f"/jobs/{job_id}/events", headers=headers)
        events = stream.getresponse()
        assert events.status == 200, events.read()
        assert _next_state(events) == "processing"
        later.request("GET", f"/jobs/{job_id}?wait=0.1", headers=headers)  # answered after the other has begun to wait
        later.getresponse().read()
        yield Followers(threads.submit(_answer, poll), threads.submit(_states, events))


def _answer(poll: HTTPConnection) -> tuple[int, Any]:
    answer = poll.getresponse()
    return answer.status, json.loads(answer.read())


def _states(events: HTTPResponse) -> list[str]:
    return list(iter(lambda: _next_state(events), ""))


def _next_state(events: HTTPResponse) -> str:
    """The state in the next event; empty at the end of the stream."""
    for line in iter(events.readline, b""):
        if line.startswith(b"data:"):
            state: str = json.loads(line.removeprefix(b"data:"))["status"]
            return state
    return ""
