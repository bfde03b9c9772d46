"""Bounds the body of every request while it streams in, before anything parses it: its bytes, its time, our memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.bounded_answer import BoundedAnswer
from api.http.problems import problem_response
from api.http.request_memory import RequestMemory
from api.shares import Shares
from shared.errors import MaskqError, PayloadTooLarge, RequestTimedOut, UnsupportedEncoding
from shared.settings import COPIES

_PROGRESS_BYTES = 65_536
_PROGRESS_S = 20.0
"""A body must bring this many further bytes in this time, 26 kbit/s, or end: a client that stops sending keeps its
memory no longer."""

_LINGER_S = 1.0
"""How long the rest of a body is read and dropped after an error: closing at once would discard the answer."""


class BodyLimit:
    """ASGI middleware. Reads at most `max_bytes` of a body, within `timeout_s`, uncompressed, and only while the memory
    of all requests in progress has room for it. A client that sends more, declared or not, gets an error."""

    def __init__(self, app: ASGIApp, timeout_s: float, room: Shares, max_bytes: int) -> None:
        """`room` is the memory of the process for images, in bytes."""
        self._app = app
        self._timeout_s = timeout_s
        self._room = room
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        memory = scope.setdefault("state", {})["memory"] = RequestMemory(self._room)
        headers = Headers(scope=scope)
        body = _Body(receive, send, memory, _declared_bytes(headers), self._timeout_s)
        if error := self._header_error(headers):
            await problem_response(Request(scope), error)(scope, receive, body.send)
            return
        try:
            await self._app(scope, lambda: self._receive(body), BoundedAnswer(scope, receive, body.send, memory).send)
        finally:
            memory.free()

    def _header_error(self, headers: Headers) -> MaskqError | None:
        """The error that the headers of a request already show, if any."""
        if (_declared_bytes(headers) or 0) > self._max_bytes:
            return self._too_large()
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return UnsupportedEncoding("send the body as it is, without Content-Encoding")
        return None

    async def _receive(self, body: _Body) -> Message:
        message = await body.receive()
        if body.received > self._max_bytes:
            raise self._too_large()
        return message

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"a request may have at most {self._max_bytes:,} bytes")


def _declared_bytes(headers: Headers) -> int | None:
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() else None


class _Body:
    """The body of one request, as far as it has arrived.

    Its memory is taken when the application begins to read: all of it if its length is declared, so that whoever gets
    in can finish; else as much as has arrived.
    """

    def __init__(
        self, receive: Receive, send: Send, memory: RequestMemory, declared_bytes: int | None, timeout_s: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._memory = memory
        self._declared_bytes = declared_bytes
        self._timeout_s = timeout_s
        begin = asyncio.get_running_loop().time()
        self._deadline = begin + timeout_s
        self._progress = _Progress(begin)
        self._has_begun = False
        self._is_complete = False
        self._is_refused = False
        self.received = 0
        """Bytes."""

    async def receive(self) -> Message:
        """The next message.

        Raises:
            RequestTimedOut: the body is incomplete and its time is over.
            ServerBusy, ShareExceeded: there is no memory for it.
        """
        if not self._has_begun:
            self._has_begun = True
            self._take(self._declared_bytes or 0)
        message = await self._next()
        size = len(message.get("body", b""))
        self.received += size
        self._progress.note(self.received)
        if self._declared_bytes is None:
            self._take(size)
        return message

    def _take(self, size: int) -> None:
        if size:
            self._memory.take(COPIES * size)

    async def _next(self) -> Message:
        deadline = min(self._deadline, self._progress.deadline)
        try:
            async with asyncio.timeout_at(None if self._is_complete else deadline):
                message = await self._receive()
        except TimeoutError:
            slow = f" or brought less than {_PROGRESS_BYTES:,} bytes in {_PROGRESS_S:g} s"
            raise RequestTimedOut(f"the body did not arrive within {self._timeout_s:g} s{slow}") from None
        self._is_complete = self._is_complete or not message.get("more_body", False)
        return message

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


class _Progress:
    """The time by which a body must bring its next bytes."""

    def __init__(self, now: float) -> None:
        self._needed_bytes = _PROGRESS_BYTES
        self.deadline = now + _PROGRESS_S
        """On the clock of the event loop."""

    def note(self, received: int) -> None:
        """`received` bytes of the body have arrived."""
        if received >= self._needed_bytes:
            self._needed_bytes = received + _PROGRESS_BYTES
            self.deadline = asyncio.get_running_loop().time() + _PROGRESS_S
