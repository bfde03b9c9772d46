"""Gives every request an id and a line in the log, and adds headers from `request.state` to its answer."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
"""Requested every few seconds by machines, so they are logged at level DEBUG."""

logger = logging.getLogger("maskq.access")


class AccessLog:
    """ASGI middleware. Every log line of a request carries its id. Queries, prompts and headers are not logged, because
    they may be secret."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        state = scope.setdefault("state", {})
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(raw=message["headers"]).update(
                    {"X-Request-ID": request_id, **state.get("answer_headers", {})}
                )
            await send(message)

        begin = time.perf_counter()
        with bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_headers)
            finally:
                _log(scope, status, time.perf_counter() - begin)


def add_answer_headers(request: Request, headers: Mapping[str, str]) -> None:
    """Add headers to the answer of a request, also if it is an error."""
    request.state.answer_headers = {**getattr(request.state, "answer_headers", {}), **headers}


def _request_id(headers: Headers) -> str:
    """The id that the client sent, if it is safe in a log; else a new one."""
    given = headers.get("x-request-id", "")
    return given if _ID.fullmatch(given) else uuid4().hex


def _log(scope: Scope, status: int, took_s: float) -> None:
    level = logging.DEBUG if scope["path"].removeprefix(scope.get("root_path", "")) in _QUIET_PATHS else logging.INFO
    facts = {"status": status, "took_ms": round(took_s * 1000, 1), "caller": scope["state"].get("caller")}
    logger.log(level, "%s %s", scope["method"], scope["path"], extra={k: v for k, v in facts.items() if v is not None})
