"""A document that is sent while it is made: an error before its first piece is an answer, a later one cuts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from api.http.streamed_document import StreamedDocument
from api.shares import Shares
from shared.errors import ServerBusy, StoreUnavailable

_SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}


class _Client:
    """Takes the answer to one request."""

    def __init__(self) -> None:
        self.shares = Shares(1, "data sets being sent")
        self.sent: list[Message] = []

    def get(self, *pieces: bytes | Exception, method: str = "GET") -> None:
        async def made() -> AsyncGenerator[bytes, None]:
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                assert self.shares.in_use == 1
                yield piece

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            self.sent.append(message)

        document = StreamedDocument(made(), self.shares.holding("me"), {"ETag": "1"})
        asyncio.run(document({**_SCOPE, "method": method}, receive, send))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def has_ended(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", False)


def test_all_pieces_are_sent() -> None:
    client = _Client()
    client.get(b"[1,", b"2]")
    assert (client.body, client.has_ended, client.shares.in_use) == (b"[1,2]", True, 0)
    assert (b"content-type", b"application/json") in client.sent[0]["headers"]


def test_an_error_before_the_first_piece_is_an_answer() -> None:
    client = _Client()
    with pytest.raises(StoreUnavailable):
        client.get(StoreUnavailable("why"))
    assert (client.sent, client.shares.in_use) == ([], 0)


def test_a_later_error_does_not_end_the_answer() -> None:
    client = _Client()
    client.get(b"[1,", StoreUnavailable("why"))
    assert (client.body, client.has_ended, client.shares.in_use) == (b"[1,", False, 0)


def test_without_a_place_nothing_is_made() -> None:
    client = _Client()
    with client.shares.holding("other"), pytest.raises(ServerBusy):
        client.get(AssertionError())
    assert client.sent == []


def test_head_makes_nothing() -> None:
    client = _Client()
    client.get(AssertionError(), method="HEAD")
    assert (client.body, client.has_ended) == (b"", True)
    assert b"content-length" not in dict(client.sent[0]["headers"])
