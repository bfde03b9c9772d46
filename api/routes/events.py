"""GET /jobs/{id}/events: a job's states as server-sent events, from the present one to the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from redis.exceptions import RedisError

from api.auth.caller import OwnJob
from api.http.openapi import problems
from api.services import Services, ServicesDep
from shared.domain.views import JobView
from shared.errors import JobExpired, JobNotFound, ServerBusy
from shared.store.job_state import JobState

router = APIRouter(prefix="/jobs")

_JOB = {"contentMediaType": "application/json", "contentSchema": {"$ref": "#/components/schemas/JobView"}}
_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {"type": "string", **_JOB},
        "id": {"type": "string", "description": "Names the state."},
        "retry": {"type": "integer", "description": "Milliseconds after which to come back, if the stream breaks."},
    },
}
MAX_STREAM_S = 600.0
"""Longest stream. Clients reconnect by themselves, perhaps to a newer process."""
PING_S = 15.0
"""How often a silent stream sends a comment: proxies commonly close connections silent for 60 s."""
_RECONNECT_MS = 2_000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/{job_id}/events",
    response_class=Response,
    responses={
        200: {"description": "The stream.", "content": {"text/event-stream": {"itemSchema": _EVENT}}},
        204: {"description": "The job has ended, and the client has seen it."},
        **problems(JobNotFound, JobExpired, ServerBusy),
    },
)
async def stream_job(
    state: OwnJob,
    request: Request,
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header(description="The last state the client has seen.")] = None,
) -> Response:
    """The job as it is, and again whenever it moves; the stream ends with the job. An event's data is the job in JSON.

    A client that comes back with `Last-Event-ID` hears only what is new to it. If nothing ever will be, the answer is
    204, which tells browsers not to come back.
    """
    if state.job.status.is_terminal and last_event_id == state.job.version:
        return Response(status_code=204)
    services.watcher.require_room()  # once the stream has begun it is too late to refuse it
    stream = _Stream(services, str(request.base_url), last_event_id)
    return StreamingResponse(stream.events(state.job.id), media_type="text/event-stream", headers=_HEADERS)


class _Stream:
    """One client's stream."""

    def __init__(self, services: Services, base_url: str, seen: str | None) -> None:
        self._services = services
        self._base_url = base_url
        self._seen = seen
        self._ends_at = asyncio.get_running_loop().time() + MAX_STREAM_S
        self._time_is_up = False

    async def events(self, job_id: str) -> AsyncIterator[bytes]:
        """What goes over the wire. If Redis fails or the process ends, the stream does, and the client comes back."""
        try:
            with self._services.watcher.watching(job_id) as moved:
                while not self._is_over:
                    moved.clear()
                    state = await self._services.store.read(job_id)
                    if state.job.version != self._seen:
                        yield self._event(state)
                    if state.job.status.is_terminal:
                        return
                    while not self._is_over and not await self._heard_within_ping(moved):
                        yield KEEPALIVE_COMMENT
        except (RedisError, JobExpired, ServerBusy):
            return

    @property
    def _is_over(self) -> bool:
        return self._services.watcher.is_closed or self._time_is_up

    def _event(self, state: JobState) -> bytes:
        self._seen = state.job.version
        view = JobView.of(state.job, state.queue_position, state.result, self._base_url)
        return format_sse_event(data_str=view.model_dump_json(), id=state.job.version, retry=_RECONNECT_MS)

    async def _heard_within_ping(self, moved: asyncio.Event) -> bool:
        ping_at = asyncio.get_running_loop().time() + PING_S
        try:
            async with asyncio.timeout_at(min(ping_at, self._ends_at)):
                await moved.wait()
        except TimeoutError:
            self._time_is_up = ping_at >= self._ends_at  # a timer may ring a hair early: the clock would deny it
            return False
        return True
