"""GET /jobs/{id}/events: the states of a job as server-sent events, from the current one to the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from redis.exceptions import RedisError

from api.auth.caller import Caller
from api.dependencies import ServicesDep, require_valid
from api.http.openapi import problems
from api.job_response import job_view
from api.linked import LINKED_JOB_ERRORS, LinkedJob, LinkedReader
from api.services import Services
from shared.errors import MaskqError, ServerBusy, ShareExceeded, StoreUnconfirmed
from shared.store.job_state import JobState

router = APIRouter(prefix="/jobs")

_JOB = {"contentMediaType": "application/json", "contentSchema": {"$ref": "#/components/schemas/JobView"}}
_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {"type": "string", **_JOB},
        "id": {"type": "string", "description": "Name of the state, for `Last-Event-ID`."},
        "retry": {"type": "integer", "description": "Milliseconds to wait before reconnecting after a broken stream."},
    },
}
MAX_STREAM_S = 600.0
"""Longest stream. Clients reconnect by themselves, perhaps to a newer process."""
PING_S = 15.0
"""How often a silent stream sends a comment. Proxies commonly close connections that are silent for 60 s."""
_RECONNECT_MS = 2_000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.head("/{job_id}/events", include_in_schema=False)
@router.get(
    "/{job_id}/events",
    operation_id="stream_job",
    response_class=Response,
    responses={
        200: {"description": "The stream.", "content": {"text/event-stream": {"itemSchema": _EVENT}}},
        204: {"description": "The job has ended, and the client has seen its last state."},
        **problems(*LINKED_JOB_ERRORS, ServerBusy, ShareExceeded),
    },
)
async def stream_job(
    state: LinkedJob,
    request: Request,
    services: ServicesDep,
    caller: LinkedReader,
    last_event_id: Annotated[str | None, Header(description="The last state the client has seen.")] = None,
) -> Response:
    """The job now, and again after every change of its state. The stream ends with the job. An event's data is the job
    in JSON.

    A client that reconnects with `Last-Event-ID` receives only newer states. If there will be none, the answer is 204,
    which stops browsers from reconnecting.
    """
    if state.job.status.is_terminal and last_event_id == state.job.version:
        return Response(status_code=204)
    if request.method == "HEAD":
        answer = Response(headers=_HEADERS, media_type="text/event-stream")
        del answer.headers["Content-Length"]  # the stream has none
        return answer
    services.watcher.require_room(caller)  # after the stream has begun it can no longer be refused
    stream = _Stream(services, request, caller, last_event_id)
    return StreamingResponse(stream.events(state.job.id), media_type="text/event-stream", headers=_HEADERS)


class _Stream:
    """The stream of one client."""

    def __init__(self, services: Services, request: Request, caller: Caller, seen: str | None) -> None:
        self._services = services
        self._watcher = services.watcher
        self._request = request
        self._caller = caller
        self._seen = seen
        self._ends_at = asyncio.get_running_loop().time() + MAX_STREAM_S
        self._time_is_up = False

    async def events(self, job_id: str) -> AsyncIterator[bytes]:
        """The bytes of the stream. It ends if the caller's key is revoked, its link ends or the process stops; the
        client then reconnects. While Redis cannot be used, it is silent."""
        try:
            with self._watcher.watching(job_id, self._caller) as changed:
                while not self._is_over:
                    changed.clear()
                    state = await self._state(job_id, changed)
                    if state is not None and state.job.version != self._seen:
                        yield self._event(state)
                    if state is not None and state.job.status.is_terminal:
                        return
                    while not self._is_over and not await self._changed_before_ping(changed):
                        with suppress(RedisError):
                            await require_valid(self._caller, self._services)
                        yield KEEPALIVE_COMMENT
        except MaskqError:
            return

    async def _state(self, job_id: str, changed: asyncio.Event) -> JobState | None:
        """The job, if this caller may still see it. None while Redis cannot be used, or replicas have not confirmed its
        end: `changed` is set again."""
        try:
            state = await self._watcher.read(job_id)
            await require_valid(self._caller, self._services)
        except (RedisError, StoreUnconfirmed):
            self._watcher.set_again(changed)
            return None
        return state

    @property
    def _is_over(self) -> bool:
        return self._watcher.is_closed or self._time_is_up

    def _event(self, state: JobState) -> bytes:
        self._seen = state.job.version
        view = job_view(state, self._request)
        return format_sse_event(data_str=view.model_dump_json(), id=state.job.version, retry=_RECONNECT_MS)

    async def _changed_before_ping(self, changed: asyncio.Event) -> bool:
        ping_at = asyncio.get_running_loop().time() + PING_S
        try:
            async with asyncio.timeout_at(min(ping_at, self._ends_at)):
                await changed.wait()
        except TimeoutError:
            self._time_is_up = ping_at >= self._ends_at  # timers may fire slightly early, so the clock cannot decide
            return False
        return True
