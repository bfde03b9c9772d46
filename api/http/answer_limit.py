"""Bounds the memory for answers that clients have not taken yet, in all and for one client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import problem_response
from api.shares import Shares
from shared.errors import MaskqError

_PIECE_BYTES = 65_536
"""How much of an answer is passed on before the client has taken what went before. Smaller answers are not counted."""


class AnswerLimit:
    """ASGI middleware. Passes large answers on in pieces, as the client takes them, and counts them until then."""

    def __init__(self, app: ASGIApp, memory_bytes: int, client_of: Callable[[Scope], str]) -> None:
        """`client_of` names the client whom a request counts for."""
        self._app = app
        self._room = Shares(memory_bytes, "bytes of answers that nobody takes")
        self._client_of = client_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with ExitStack() as held:
            is_refused = False

            async def send_in_pieces(message: Message) -> None:
                nonlocal is_refused
                if message["type"] == "http.response.start":
                    try:
                        self._take(scope, message, held)
                    except MaskqError as error:
                        is_refused = True
                        await problem_response(Request(scope), error)(scope, receive, send)
                if not is_refused:
                    await _send_in_pieces(message, send)

            await self._app(scope, receive, send_in_pieces)

    def _take(self, scope: Scope, start: Message, held: ExitStack) -> None:
        """Count an answer until `held` is closed.

        Raises:
            ServerBusy, ShareExceeded: there is no room for it.
        """
        size = int(Headers(raw=start["headers"]).get("content-length", 0))
        if size > _PIECE_BYTES:
            held.enter_context(self._room.holding(self._client_of(scope), size))


async def _send_in_pieces(message: Message, send: Send) -> None:
    body = message.get("body", b"")
    last = max(0, len(body) - 1) // _PIECE_BYTES * _PIECE_BYTES
    for begin in range(0, last, _PIECE_BYTES):
        await send({**message, "body": body[begin : begin + _PIECE_BYTES], "more_body": True})
    await send({**message, "body": body[last:]} if last else message)
