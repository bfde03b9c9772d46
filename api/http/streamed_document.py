"""A JSON document that is sent while it is made, so that only a part of it is in memory."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractContextManager, aclosing

from redis.exceptions import RedisError
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.errors import MaskqError

logger = logging.getLogger(__name__)


class StreamedDocument(StreamingResponse):
    """The answer begins when the first piece is made: until then an error is answered as any other. A later one ends
    the connection before the end of the document, so that no client takes a part of it for the whole."""

    media_type = "application/json"

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], place: AbstractContextManager[None], headers: Mapping[str, str]
    ) -> None:
        """`place` is held from the first piece to the last; entering it may raise a MaskqError."""
        super().__init__(pieces, headers=headers)
        self._pieces = pieces
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        with self._place:
            async with aclosing(self._pieces):
                self.body_iterator = _with_first(await anext(self._pieces), self._pieces)
                await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except (MaskqError, RedisError) as error:  # without its last message, the server closes the connection
            logger.warning("a document was cut: %s", type(error).__name__)


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
