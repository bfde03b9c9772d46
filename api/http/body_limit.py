"""Bounds the body of every request while it streams in, before anything parses it: its bytes, its time, our memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
    of all requests in progress has room for it. A client that sends more, declared or not, gets an error.

    A streamed body has a limit of its own, and time for each `max_bytes` of it. Its reader takes the memory of what it
    keeps.
    """

    def __init__(
        self, app: ASGIApp, timeout_s: float, room: Shares, max_bytes: int, streamed: Mapping[str, int] | None = None
    ) -> None:
        """`room` is the memory of the process for images, in bytes. `streamed` has the limits of streamed bodies in
        bytes, by the paths that they are posted to."""
        self._app = app
        self._streamed = streamed or {}
        self._timeout_s = timeout_s
        self._room = room
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        memory = scope.setdefault("state", {})["memory"] = RequestMemory(self._room)
        headers = Headers(scope=scope)
        streamed_bytes = self._streamed_bytes(scope)
        body = _Body(receive, send, memory, headers, self._timeout_s, self._max_bytes, bool(streamed_bytes))
        max_bytes = streamed_bytes or self._max_bytes
        if error := self._header_error(headers, max_bytes):
            await problem_response(Request(scope), error)(scope, receive, body.send)
            return
        try:
            await self._app(
                scope, lambda: self._receive(body, max_bytes), BoundedAnswer(scope, receive, body.send, memory).send
            )
        finally:
            memory.free()

    def _streamed_bytes(self, scope: Scope) -> int | None:
        """The limit of a request whose body is streamed; None for others."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._streamed.get(path) if scope["method"] == "POST" else None

    def _header_error(self, headers: Headers, max_bytes: int) -> MaskqError | None:
        """The error that the headers of a request already show, if any."""
        if (_declared_bytes(headers) or 0) > max_bytes:
            return _too_large(max_bytes)
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return UnsupportedEncoding("send the body as it is, without Content-Encoding")
        return None

    async def _receive(self, body: _Body, max_bytes: int) -> Message:
        message = await body.receive()
        if body.received > max_bytes:
            raise _too_large(max_bytes)
        return message


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"a request may have at most {max_bytes:,} bytes")


def _declared_bytes(headers: Headers) -> int | None:
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() else None


class _Body:
    """The body of one request, as far as it has arrived.

    Its memory is taken when the application begins to read: all of it if its length is declared, so that whoever gets
    in can finish; else as much as has arrived.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        memory: RequestMemory,
        headers: Headers,
        timeout_s: float,
        one_body_bytes: int,
        is_streamed: bool,
    ) -> None:
        self._receive = receive
        self._send = send
        self._memory = memory
        self._declared_bytes = _declared_bytes(headers)
        self._timeout_s = timeout_s
        self._one_body_bytes = one_body_bytes
        self._is_streamed = is_streamed
        begin = asyncio.get_running_loop().time()
        self._deadline = begin + timeout_s
        self._progress = _Progress(begin)
        self._paused_at = begin
        self._has_begun = False
        self._is_complete = not self._declared_bytes and "transfer-encoding" not in headers  # RFC 9112, section 6.3
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
        if self._is_streamed:
            self._deadline += self._timeout_s * size / self._one_body_bytes
        self._progress.note(self.received)
        if self._declared_bytes is None:
            self._take(size)
        return message

    def _take(self, size: int) -> None:
        if size and not self._is_streamed:
            self._memory.take(COPIES * size)

    async def _next(self) -> Message:
        self._resume()
        deadline = min(self._deadline, self._progress.deadline)
        try:
            async with asyncio.timeout_at(None if self._is_complete else deadline):
                message = await self._receive()
        except TimeoutError:
            slow = f" or brought less than {_PROGRESS_BYTES:,} bytes in {_PROGRESS_S:g} s"
            raise RequestTimedOut(f"the body did not arrive within {self._timeout_s:g} s{slow}") from None
        self._is_complete = self._is_complete or not message.get("more_body", False)
        self._paused_at = asyncio.get_running_loop().time()
        return message

    def _resume(self) -> None:
        """While images of a streamed body are submitted, its client cannot send more."""
        if self._is_streamed:
            pause_s = asyncio.get_running_loop().time() - self._paused_at
            self._deadline += pause_s
            self._progress.deadline += pause_s

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
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while dropped <= self._one_body_bytes:
                    message = await self._receive()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body"):
                        return


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
