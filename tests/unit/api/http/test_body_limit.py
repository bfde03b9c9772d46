"""Memory of bodies and answers, over ASGI: when it is taken, for whom, and when it is free again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import body_limit
from api.http.body_limit import BodyLimit
from api.http.request_memory import memory_of
from api.shares import Shares
from shared.errors import PayloadTooLarge, RequestTimedOut, ServerBusy, ShareExceeded

_TOTAL = 10_000_000


class _Exchange:
    """One request, and what was sent as its answer. Parts of its body come one after the other, the end never if
    `parts` do not complete the body."""

    def __init__(self, parts: Sequence[bytes] = (), declared: int | None = None, method: str = "POST") -> None:
        length = [] if declared is None else [(b"content-length", str(declared).encode())]
        self.scope: Scope = {"type": "http", "method": method, "path": "/", "headers": length, "state": {}}
        self._parts = list(parts)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._parts:
            return {"type": "http.request", "body": self._parts.pop(0), "more_body": True}
        return await asyncio.Future()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def answer(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def _run(exchange: _Exchange, app: ASGIApp, room: Shares | None = None) -> None:
    limit = BodyLimit(app, timeout_s=30, room=room or Shares(_TOTAL, "images"), max_bytes=_TOTAL)
    asyncio.run(limit(exchange.scope, exchange.receive, exchange.send))


def _answering(size: int, client: str) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if client:
            memory_of(Request(scope)).count_for(client, 1)
        await PlainTextResponse("x" * size)(scope, receive, send)

    return app


def test_a_declared_body_is_counted_when_the_application_begins_to_read() -> None:
    room = Shares(_TOTAL, "images")
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(room.in_use)
        memory_of(Request(scope)).count_for("a", 1)
        for _ in range(2):
            await receive()
            seen.append(room.in_use)

    _run(_Exchange([bytes(10), bytes(10)], declared=1_000), app, room)
    assert seen == [0, 2_000, 2_000]  # two copies
    assert room.in_use == 0


def test_a_body_of_unknown_length_is_counted_as_it_arrives() -> None:
    room = Shares(_TOTAL, "images")
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            await receive()
            seen.append(room.in_use)

    _run(_Exchange([bytes(10), bytes(90)]), app, room)
    assert seen == [20, 200]
    assert room.in_use == 0


def test_a_client_with_its_share_is_refused_and_a_newcomer_is_not() -> None:
    room = Shares(_TOTAL, "images")
    room.take("a", _TOTAL * 3 // 4)

    def reading(client: str) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            memory_of(Request(scope)).count_for(client, 1)
            await receive()

        return app

    with pytest.raises(ShareExceeded):
        _run(_Exchange([bytes(10)], declared=1_000_000), reading("a"), room)
    _run(_Exchange([bytes(10)], declared=1_000_000), reading("b"), room)
    with pytest.raises(ServerBusy):
        _run(_Exchange([bytes(10)], declared=2_000_000), reading("b"), room)
    assert room.in_use == _TOTAL * 3 // 4


@pytest.mark.parametrize("parts", [[], [bytes(1_000)] * 50])
def test_a_body_that_makes_no_progress_times_out(monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    monkeypatch.setattr(body_limit, "_PROGRESS_S", 0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await receive()

    with pytest.raises(RequestTimedOut, match=r"less than 65,536 bytes in 0\.1 s"):
        _run(_Exchange(parts, declared=1_000_000), app)


def test_memory_that_is_freed_early_is_freed_once() -> None:
    room = Shares(_TOTAL, "images")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        memory_of(Request(scope)).free()
        assert room.in_use == 0

    _run(_Exchange([bytes(10)], declared=10), app, room)
    assert room.in_use == 0


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 200_000])
def test_a_large_answer_is_sent_in_slices_that_wait_for_the_client(size: int) -> None:
    exchange = _Exchange(method="GET")
    _run(exchange, _answering(size, "a"))
    assert exchange.answer == b"x" * size
    assert max(len(message["body"]) for message in exchange.sent[1:]) <= 65_536
    assert [message.get("more_body", False) for message in exchange.sent[1:]].count(False) == 1


def test_a_large_answer_is_counted_until_it_is_sent_and_refused_without_room() -> None:
    room = Shares(_TOTAL, "images")
    counted = []

    class Slow(_Exchange):
        async def send(self, message: Message) -> None:
            counted.append(room.in_use)
            await super().send(message)

    _run(Slow(method="GET"), _answering(200_000, "a"), room)
    assert set(counted) == {200_000}
    assert room.in_use == 0
    room.take("a", _TOTAL * 3 // 4)
    refused = _Exchange(method="GET")
    _run(refused, _answering(200_000, "a"), room)
    assert refused.status == 429
    assert b"share_exceeded" in refused.answer
    assert len(refused.answer) < 1_000


@pytest.mark.parametrize(("method", "client", "size"), [("POST", "a", 200_000), ("GET", "", 200_000), ("GET", "a", 9)])
def test_accepted_jobs_public_pages_and_short_answers_are_never_refused(method: str, client: str, size: int) -> None:
    room = Shares(_TOTAL, "images")
    room.take(client, _TOTAL)
    exchange = _Exchange(method=method)
    _run(exchange, _answering(size, client), room)
    assert exchange.status == 200
    assert len(exchange.answer) == size


@pytest.mark.parametrize(("method", "declared", "closes"), [("GET", None, False), ("GET", 0, False), ("POST", 9, True)])
def test_an_error_closes_the_connection_only_if_a_body_is_left(
    method: str, declared: int | None, *, closes: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("no", status_code=404)(scope, receive, send)

    exchange = _Exchange(declared=declared, method=method)
    _run(exchange, app)
    assert ((b"connection", b"close") in exchange.sent[0]["headers"]) == closes


def _run_streamed(exchange: _Exchange, app: ASGIApp, room: Shares | None = None, max_bytes: int = 1_000) -> None:
    exchange.scope["path"] = "/many"
    limit = BodyLimit(app, 30, room or Shares(_TOTAL, "images"), 100, {"/many": max_bytes})
    asyncio.run(limit(exchange.scope, exchange.receive, exchange.send))


def test_a_streamed_body_has_a_limit_of_its_own_and_its_reader_counts_its_memory() -> None:
    room = Shares(_TOTAL, "images")
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            await receive()
            seen.append(room.in_use)
        with pytest.raises(PayloadTooLarge):
            await receive()

    _run_streamed(_Exchange([bytes(500)] * 3, declared=1_000), app, room)
    assert seen == [0, 0]
    refused = _Exchange([bytes(500)] * 3, declared=1_001)
    _run_streamed(refused, app)
    assert refused.status == 413
    other = _Exchange([bytes(500)], declared=500)
    other.scope["path"] = "/other"
    asyncio.run(BodyLimit(app, 30, room, 100, {"/many": 1_000})(other.scope, other.receive, other.send))
    assert other.status == 413


@pytest.mark.parametrize("path", ["/many", "/maskq/many"])
def test_a_streamed_body_has_time_while_its_parts_are_used(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deadline is behind it after each part, if the time in which nothing is read counted."""
    monkeypatch.setattr(body_limit, "_PROGRESS_S", 0.05)
    read = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            read.append(len((await receive())["body"]))
            await asyncio.sleep(0.1)
        with pytest.raises(RequestTimedOut):
            await receive()

    exchange = _Exchange([bytes(10)] * 3, declared=1_000)
    exchange.scope.update({"path": path, "root_path": path.removesuffix("/many")})
    limit = BodyLimit(app, 30, Shares(_TOTAL, "images"), 100, {"/many": 1_000})
    asyncio.run(limit(exchange.scope, _after_a_moment(exchange.receive), exchange.send))
    assert read == [10, 10, 10]


def _after_a_moment(receive: Receive) -> Receive:
    async def later() -> Message:
        await asyncio.sleep(0)
        return await receive()

    return later
