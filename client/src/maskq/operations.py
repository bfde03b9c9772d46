"""What a client can do, step by step and without input or output. Both clients drive these operations."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from maskq.errors import InvalidField, JobCanceled, JobDeleted, JobEnded, JobFailed, JobNotFound, WaitTimeout
from maskq.exchange import Exchange
from maskq.images import ImageInput
from maskq.job_state import JobState
from maskq.steps import Answer, Operation, Pause, Request
from maskq.submission import submission
from maskq.typed import Json

_WAIT_S = 30.0
"""How long one request waits. Proxies commonly close silent connections at 60 s."""
_EARLY_S = 0.5
"""An answer to a waiting request that comes earlier, without news, is that of a service which does not let it wait."""
_MAX_WAIT = re.compile(r"wait: at most ([0-9.]+) seconds")
_PAGE = 100


@dataclass(frozen=True)
class Model:
    """A model of the service."""

    id: str
    about: str
    resolution: int | None
    """Side of its square input, in pixels."""
    live_workers: int
    """Workers that serve it now."""


def at_least(least: int, **given: int | None) -> None:
    """Check numbers that the caller gave. None is no number, and right.

    Raises:
        ValueError: one is smaller.
    """
    for name, number in given.items():
        if number is not None and number < least:
            raise ValueError(f"{name} is at least {least}, not {number}")


class Operations:
    """The operations of one client."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._clock = clock
        self._wait_s = _WAIT_S

    def submit(
        self, image: ImageInput, prompt: str, options: Mapping[str, Any], wait_s: float = 0.0
    ) -> Operation[JobState]:
        """Submit a job, and wait for its end with the same request, up to `wait_s` seconds."""
        return _job((yield from self._exchange.answer(submission(image, prompt, wait_s, options))))

    def segment(
        self, image: ImageInput, prompt: str, options: Mapping[str, Any], wait_s: float | None
    ) -> Operation[JobState]:
        """Submit a job and wait until it has succeeded. Usually this takes one request."""
        begin = self._clock()
        job = yield from self.submit(
            image, prompt, options, min(self._wait_s, self._wait_s if wait_s is None else wait_s)
        )
        rest_s = None if wait_s is None else max(0.0, begin + wait_s - self._clock())
        return (yield from self.with_result(job, rest_s))

    def job(self, job_id: str) -> Operation[JobState]:
        """The job now."""
        return _job((yield from self._exchange.answer(_read(job_id))))

    def with_result(self, job: JobState, wait_s: float | None) -> Operation[JobState]:
        """The job when it has succeeded.

        Raises:
            JobFailed, JobCanceled: it has not.
            WaitTimeout: it has not ended in time.
        """
        ended = yield from self.ended(job, wait_s)
        if ended.status == "succeeded" and ended.json["result"] is None:  # lists and submissions may leave it out
            ended = yield from self.job(ended.id)
        if ended.status != "succeeded":
            raise (JobFailed if ended.status == "failed" else JobCanceled)(ended.json)
        return ended

    def ended(self, job: JobState, wait_s: float | None) -> Operation[JobState]:
        """The job when it has ended, in whichever way.

        Raises:
            WaitTimeout: it has not ended within `wait_s` seconds. None: there is no limit.
        """
        end = None if wait_s is None else self._clock() + wait_s
        while not job.has_ended:
            rest_s = self._wait_s if end is None else end - self._clock()
            if rest_s <= 0:
                raise WaitTimeout(job.id, wait_s or 0.0)
            job = (yield from self._waited(job, min(rest_s, self._wait_s), is_any_news=False)) or job
        return job

    def news(self, job: JobState) -> Operation[JobState]:
        """The job when it is in another state than this one."""
        while True:
            if newer := (yield from self._waited(job, self._wait_s, is_any_news=True)):
                return newer

    def cancel(self, job_id: str) -> Operation[JobState]:
        """Cancel a job. If it was canceled before, that is a success too: the request may be a repeated one."""
        try:
            return _job((yield from self._exchange.answer(Request("POST", f"{_path(job_id)}/cancel"))))
        except JobEnded:
            job = yield from self.job(job_id)
            if job.status != "canceled":
                raise
            return job

    def delete(self, job_id: str) -> Operation[None]:
        """Delete a job. If it was deleted before, that is a success too: the request may be a repeated one."""
        try:
            yield from self._exchange.answer(Request("DELETE", _path(job_id)))
        except JobDeleted:
            return

    def page(self, cursor: str | None, limit: int | None, filters: Mapping[str, str]) -> Operation[_Page]:
        """A page of jobs, newest first. `filters` are those of `job_filters`."""
        params = {**filters, "limit": str(min(_PAGE, limit or _PAGE)), **({"cursor": cursor} if cursor else {})}
        page = (yield from self._exchange.answer(Request("GET", "/jobs", params))).json()
        return _Page([JobState(each) for each in page["jobs"]], page["next_cursor"])

    def models(self) -> Operation[list[Model]]:
        """The models of the service, the default first."""
        found = (yield from self._exchange.answer(Request("GET", "/models"))).json()
        return [Model(each["id"], each["about"], each["resolution"], each["live_workers"]) for each in found]

    def limits(self) -> Operation[Json]:
        """What this client may do."""
        found: Json = (yield from self._exchange.answer(Request("GET", "/limits"))).json()
        return found

    def links(self, job_id: str, expires_in_s: float) -> Operation[Json]:
        """Signed URLs of a job."""
        wanted = {"expires_in_s": expires_in_s}
        found: Json = (yield from self._exchange.answer(Request("POST", f"{_path(job_id)}/links", json=wanted))).json()
        return found

    def overlay(self, job_id: str) -> Operation[bytes]:
        """The image with the masks drawn over it, as PNG."""
        return (yield from self._exchange.answer(Request("GET", f"{_path(job_id)}/overlay.png"))).body

    def prediction(self, job_id: str, from_name: str | None, to_name: str | None) -> Operation[Json]:
        """The result as a prediction for Label Studio. None: the names of the submission."""
        names = {"from_name": from_name, "to_name": to_name}
        given = {tag: name for tag, name in names.items() if name is not None}
        return (yield from self.document(job_id, "labelstudio", given))

    def document(self, job_id: str, name: str, options: Mapping[str, str] = MappingProxyType({})) -> Operation[Json]:
        """The result in the format of another tool."""
        params = {**options, "format": name}
        answer = yield from self._exchange.answer(Request("GET", f"{_path(job_id)}/result", params))
        document: Json = answer.json()
        return document

    def _waited(self, job: JobState, wait_s: float, *, is_any_news: bool) -> Operation[JobState | None]:
        """The job after a long poll: when it has ended, or on request has any other state. None: no change."""
        begin = self._clock()
        known = job.etag if is_any_news else ""
        try:
            answer = yield from self._exchange.answer(_read(job.id, wait_s, known))
        except InvalidField as error:
            if not (most := _MAX_WAIT.search(error.detail)):
                raise
            self._wait_s = float(most[1])
            return None
        newer = None if answer.status == 304 else _job(answer)
        has_news = newer is not None and (newer.has_ended or is_any_news)
        if not has_news and self._clock() - begin < min(_EARLY_S, wait_s):
            yield Pause(_EARLY_S)
        return newer


@dataclass(frozen=True)
class _Page:
    jobs: list[JobState]
    next_cursor: str | None


def job_filters(status: str | Iterable[str], ref: str, others: Mapping[str, str]) -> dict[str, str]:
    """The query parameters that say which jobs are listed."""
    statuses = status if isinstance(status, str) else ",".join(status)
    return {**others, **({"status": statuses} if statuses else {}), **({"ref": ref} if ref else {})}


def _read(job_id: str, wait_s: float = 0.0, known: str = "") -> Request:
    params = {"wait": f"{wait_s:.3f}"} if wait_s else {}
    return Request("GET", _path(job_id), params, {"If-None-Match": known} if known else {}, wait_s=wait_s)


def _path(job_id: str) -> str:
    if is_no_name(job_id):
        raise JobNotFound(404, "job_not_found", "Job not found", f"{job_id!r} is no id of a job", "")
    return f"/jobs/{quote(job_id, safe='')}"


def is_no_name(text: str) -> bool:
    """Whether this part of a path would lead to another path: nothing, `.` and `..`."""
    return not text.strip(".")


def _job(answer: Answer) -> JobState:
    return JobState(answer.json(), answer.headers.get("etag", ""))
