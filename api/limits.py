"""Bounds the body of every request while it streams in, before anything parses it."""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response
from shared.errors import PayloadTooLarge


class BodyLimit:
    """ASGI middleware: reads at most `max_bytes` of a body and answers 413 to more, however long it claims to be."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = PayloadTooLarge(f"a request may have at most {self._max_bytes:,} bytes")
        if self._declared(scope) > self._max_bytes:
            await problem_response(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive, error), send)

    @staticmethod
    def _declared(scope: Scope) -> int:
        length = dict(scope["headers"]).get(b"content-length", b"0")
        return int(length) if length.isdigit() else 0

    def _bounded(self, receive: Receive, error: PayloadTooLarge) -> Receive:
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise error
            return message

        return receive_bounded
