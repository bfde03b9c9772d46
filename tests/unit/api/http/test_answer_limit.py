"""Large answers count until their clients have taken them, for each client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.http.answer_limit import AnswerLimit

_MB = 1_000_000


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with as many bytes as the path says, or fails."""
    size = Request(scope).url.path.strip("/")
    await Response(bytes(range(256)) * (int(size) // 256))(scope, receive, send)


class _Clients:
    """Sends requests to an application with room for 4 MB of answers."""

    def __init__(self) -> None:
        self._app = AnswerLimit(_answer, 4 * _MB, lambda scope: str(scope["client"]))

    async def ask(self, client: str, size: int, taken: Callable[[], Awaitable[Any]] | None = None) -> list[Message]:
        """The messages of an answer. `taken` is awaited for each of them: it ends when the client has taken it."""
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)
            if taken is not None:
                await taken()

        await self._app(_scope(client, size), _nothing, send)
        return messages


def _scope(client: str, size: int) -> Scope:
    fixed = {"type": "http", "method": "GET", "headers": [], "query_string": b"", "server": ("localhost", 80)}
    return {**fixed, "path": f"/{size}", "client": client, "scheme": "http", "root_path": ""}


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _status(messages: list[Message]) -> int:
    status: int = messages[0]["status"]
    return status


@pytest.mark.parametrize("size", [0, 256, 65_536, 65_792, 2 * 65_536, 3 * _MB])
def test_an_answer_arrives_whole_and_in_pieces(size: int) -> None:
    start, *pieces = asyncio.run(_Clients().ask("a", size))
    bodies = [piece["body"] for piece in pieces]
    assert start["status"] == 200
    assert b"".join(bodies) == bytes(range(256)) * (size // 256)
    assert max(map(len, bodies)) <= 65_536
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]


async def _hoard() -> None:
    clients = _Clients()
    never = asyncio.Event()
    hoarding = asyncio.create_task(clients.ask("a", 2 * _MB, never.wait))
    await asyncio.sleep(0)
    assert _status(await clients.ask("a", 2 * _MB)) == 429
    assert _status(await clients.ask("a", 1_000)) == 200
    assert _status(await clients.ask("b", 2 * _MB)) == 200
    assert _status(await clients.ask("b", 3 * _MB)) == 503
    never.set()
    assert _status(await hoarding) == 200
    assert _status(await clients.ask("a", 2 * _MB)) == 200


def test_what_one_client_does_not_take_leaves_room_for_others() -> None:
    asyncio.run(_hoard())


async def _leave() -> None:
    clients = _Clients()
    for _ in range(10):
        leaving = asyncio.create_task(clients.ask("a", 3 * _MB, asyncio.Event().wait))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert _status(await clients.ask("b", 3 * _MB)) == 200


def test_a_client_that_leaves_makes_room() -> None:
    asyncio.run(_leave())
