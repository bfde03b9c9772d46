"""A job as an HTTP response: its view, and the headers for polling and caching."""

from __future__ import annotations

from fastapi import Request, Response

from api.auth.caller import Caller
from api.http.public_address import base_url
from shared.domain.views import JobView
from shared.store.job_state import JobState


def add_job_headers(response: Response, state: JobState) -> None:
    """Set `Retry-After` if the job has not ended, and require caches to revalidate."""
    response.headers["Cache-Control"] = "private, no-cache"
    if state.retry_after_s is not None:
        response.headers["Retry-After"] = str(state.retry_after_s)


def job_view(state: JobState, request: Request) -> JobView:
    """The job as its client sees it. Its URLs begin with that of this service."""
    return JobView.of(state.job, state.queue_position, state.result, base_url(request))


def answered_view(state: JobState, request: Request, caller: Caller) -> JobView:
    """The job as the answer to a caller that submitted or changed it: without its result, as in a webhook, if the
    caller may not read."""
    result = state.result if caller.may_read else None
    return JobView.of(state.job, state.queue_position, result, base_url(request))
