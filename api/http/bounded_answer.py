"""Sends large answers in slices and counts their memory, so that clients that do not read fill no memory."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from api.http.problems import problem_response
from api.http.request_memory import RequestMemory
from shared.errors import MaskqError

SLICE_BYTES = 65_536
"""A shorter answer is not counted. uvicorn buffers as much before it makes the application wait for the client."""


class BoundedAnswer:
    """The answer to one request. A large one to a GET is in the caller's memory until it is sent, and refused if there
    is no room. An answer that accepts a job is never refused."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, memory: RequestMemory) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._memory = memory
        self._is_refused = False

    async def send(self, message: Message) -> None:
        """Send a message of the application on."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif not self._is_refused:
            await self._send_slices(message)

    async def _start(self, message: Message) -> None:
        size = int(Headers(raw=message["headers"]).get("content-length", "0"))
        if self._scope["method"] == "GET" and self._memory.client and size > SLICE_BYTES:
            try:
                self._memory.take(size)
            except MaskqError as error:
                self._is_refused = True
                await problem_response(Request(self._scope), error)(self._scope, self._receive, self._send)
                return
        await self._send(message)

    async def _send_slices(self, message: Message) -> None:
        body = message.get("body", b"")
        while len(body) > SLICE_BYTES:
            await self._send({"type": "http.response.body", "body": bytes(body[:SLICE_BYTES]), "more_body": True})
            body = memoryview(body)[SLICE_BYTES:]
        await self._send({**message, "body": bytes(body)} if isinstance(body, memoryview) else message)
