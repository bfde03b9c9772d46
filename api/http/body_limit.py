"""Bounds the body of every request while it streams in, before anything parses it: its bytes, its time, our memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import problem_response
from shared.errors import MaskqError, PayloadTooLarge, RequestTimedOut, ServerBusy, UnsupportedEncoding

_LINGER_S = 1.0
"""How long the rest of a body is read and dropped after an error: closing at once would discard the answer."""


class BodyLimit:
    """ASGI middleware. Reads at most `max_bytes` of a body, within `timeout_s`, uncompressed, while all bodies in
    progress together stay below `memory_bytes`. A client that sends more, declared or not, gets an error."""

    def __init__(self, app: ASGIApp, timeout_s: float, memory_bytes: int, max_bytes: int) -> None:
        self._app = app
        self._timeout_s = timeout_s
        self._room_bytes = memory_bytes
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, self._timeout_s)
        if error := self._header_error(Headers(scope=scope)):
            await problem_response(Request(scope), error)(scope, receive, body.send)
            return
        try:
            await self._app(scope, lambda: self._receive(body), body.send)
        finally:
            self._room_bytes += body.received

    def _header_error(self, headers: Headers) -> MaskqError | None:
        """The error that the headers of a request already show, if any."""
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_bytes:
            return self._too_large()
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return UnsupportedEncoding("send the body as it is, without Content-Encoding")
        return None

    async def _receive(self, body: _Body) -> Message:
        message, size = await body.receive()
        self._room_bytes -= size
        if body.received > self._max_bytes:
            raise self._too_large()
        if self._room_bytes < 0:
            raise ServerBusy("too many uploads at once; try again in a moment")
        return message

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"a request may have at most {self._max_bytes:,} bytes")


class _Body:
    """The body of one request, as far as it has arrived."""

    def __init__(self, receive: Receive, send: Send, timeout_s: float) -> None:
        self._receive = receive
        self._send = send
        self._timeout_s = timeout_s
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._is_complete = False
        self._is_refused = False
        self.received = 0
        """Bytes."""

    async def receive(self) -> tuple[Message, int]:
        """The next message, and the number of bytes of the body in it.

        Raises:
            RequestTimedOut: the body is incomplete and its time is over.
        """
        try:
            async with asyncio.timeout_at(None if self._is_complete else self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimedOut(f"the body did not arrive within {self._timeout_s:g} s") from None
        self._is_complete = self._is_complete or not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.received += size
        return message, size

    async def send(self, message: Message) -> None:
        """Send an answer on. An error before the end of the body closes the connection soon; otherwise the client would
        go on sending a body that nobody needs, and this process would go on reading it."""
        if message["type"] == "http.response.start" and message["status"] >= 400 and not self._is_complete:
            MutableHeaders(raw=message["headers"])["Connection"] = "close"
            self._is_refused = True
        if self._is_refused and message["type"] == "http.response.body" and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._drop_rest()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _drop_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (await self._receive()).get("more_body"):
                    pass
