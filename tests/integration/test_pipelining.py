"""Clients that do not wait for answers: nothing of what they send is without a limit, and no answer is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx2
import pytest
from starlette import requests

from api.http import header_limit
from api.http.header_limit import BoundedHttpProtocol
from api.server import FrontEndServer
from shared.settings import Settings
from testing.servers import front_end, front_end_server
from tests.connections import PATIENCE_S, answers, assert_refused, connection, rest
from tests.jobs import submit

_LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LAST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_JSON = b"POST /segment/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = _JSON + b"Transfer-Encoding: chunked\r\n\r\n"
_ENDLESS = b"x" * 65_536
_MOST_TAKEN_BYTES = 16_000_000
"""More than the buffers of both kernels hold."""


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with front_end(settings) as url:
        yield url


@pytest.fixture(scope="module")
def settings(valkey_url: str) -> Settings:
    return Settings.of(redis_url=valkey_url, accept_unserved=True)


@pytest.fixture
def server(settings: Settings) -> Iterator[FrontEndServer]:
    with front_end_server(settings) as server:
        yield server


def _eventually(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)
    return happened()


def _connections(server: FrontEndServer) -> list[BoundedHttpProtocol]:
    return [each for each in server.server_state.connections if isinstance(each, BoundedHttpProtocol)]


def _stream(url: str) -> bytes:
    """The request for the events of a job that does not end."""
    with httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:
        job_id = submit(client).json()["id"]
    return f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


# --- Honest clients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 50, 2_000])
def test_pipelined_requests_are_answered_in_order(url: str, count: int) -> None:
    request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: number-{}\r\n\r\n"
    with connection(url) as client:
        client.sendall("".join(map(request.format, range(count))).encode() + _LAST)
        received = rest(client)
    assert received.count(b"HTTP/1.1 200 ") == count + 1
    assert re.findall(rb"x-request-id: number-(\d+)", received) == [str(number).encode() for number in range(count)]


@pytest.mark.parametrize("size", [0, 17, 300_000])
def test_a_request_behind_a_body_is_answered(url: str, size: int) -> None:
    with connection(url) as client:
        head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
        client.sendall(head + bytes(size) + b"\r\n" + head + b"\n" * size + _LAST)
        assert rest(client).count(b"HTTP/1.1 200 ") == 3


def test_a_request_may_arrive_byte_by_byte(url: str) -> None:
    with connection(url) as client:
        for each in _LIVE + _LAST:
            client.sendall(bytes([each]))
        assert rest(client).count(b"HTTP/1.1 200 ") == 2


def test_a_chunked_body_may_arrive_byte_by_byte_and_the_next_request_is_answered(url: str) -> None:
    with connection(url) as client:
        for each in _CHUNKED + b"2;a=b\r\n{}\r\n0\r\nA: b\r\n\r\n":
            client.sendall(bytes([each]))
        assert answers(client, 1).startswith(b"HTTP/1.1 422 ")
        client.sendall(_LAST)
        assert rest(client).count(b"HTTP/1.1 200 ") == 1


def test_a_request_in_the_same_packet_behind_a_chunked_body_ends_the_connection_after_the_answer(url: str) -> None:
    with connection(url) as client:
        client.sendall(_CHUNKED + b"2\r\n{}\r\n0\r\n\r\n" + _LIVE)
        received = rest(client)
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 422 ")
    assert b"connection: close" in received.lower()


def test_what_follows_connection_close_is_not_answered(url: str) -> None:
    with connection(url) as client:
        client.sendall(_LAST + _LIVE * 10)
        assert rest(client).count(b"HTTP/1.1 ") == 1


def test_a_client_that_hangs_up_is_noticed_behind_pipelined_bytes(server: FrontEndServer) -> None:
    url = f"http://127.0.0.1:{server.config.port}"
    watcher = server.app.state.services.watcher
    with connection(url) as client:
        client.sendall(_stream(url) + _LIVE * 3)
        assert _eventually(lambda: len(watcher) == 1)
    assert _eventually(lambda: len(watcher) == 0)


# --- Hostile clients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behind", [_LIVE + b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX: ", b"GET /", _JSON + b"A: "]
)
def test_endless_headers_behind_a_stream_are_not_read(server: FrontEndServer, behind: bytes) -> None:
    url = f"http://127.0.0.1:{server.config.port}"
    with connection(url) as client:
        client.sendall(_stream(url) + behind)
        assert answers(client, 1).startswith(b"HTTP/1.1 200 ")
        client.settimeout(1)
        with pytest.raises(TimeoutError):  # nobody reads any longer
            client.sendall(bytes(_MOST_TAKEN_BYTES))
        (kept,) = [len(each._held) for each in _connections(server) if each.cycle is not None]
        assert kept < 1_000_000
        assert httpx2.get(f"{url}/livez").status_code == 200


def test_requests_behind_a_stream_wait_unparsed(server: FrontEndServer) -> None:
    url = f"http://127.0.0.1:{server.config.port}"
    with connection(url) as client:
        client.sendall(_stream(url))
        assert answers(client, 1).startswith(b"HTTP/1.1 200 ")
        client.settimeout(1)
        with suppress(TimeoutError):
            for _ in range(1_000):
                client.sendall(_LIVE * 1_000)
        assert [len(each.pipeline) for each in _connections(server)] == [0]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + _ENDLESS * 2,
        b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 201 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
        b"\r\n" * 40_000,
        b"GET / HTTP/1.1\r\n" + _ENDLESS + b": a",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: " + _ENDLESS + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 12_000 + b"\r\n",
        b"GET /livez?" + _ENDLESS + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez?" + b"a&" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        _CHUNKED + b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 60_000 + b"\r\n",
        _CHUNKED + b"2\r\n{}\r\n0\r\nX-Trailer: " + _ENDLESS * 8,
        _CHUNKED + b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 60_000,
        _CHUNKED + b"2;" + _ENDLESS * 8,
        _CHUNKED + b"2\r\n{}\r\n1;x=" + _ENDLESS * 8,
    ],
)
def test_headers_of_every_kind_are_bounded(url: str, request_: bytes) -> None:
    with connection(url) as client:
        with suppress(ConnectionError):
            client.sendall(request_)
        assert_refused(rest(client), 431, "headers_too_large")


def test_no_cookie_is_parsed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def recorded(cookie: str) -> dict[str, str]:
        parsed.append(cookie)
        return {}

    monkeypatch.setattr(requests, "cookie_parser", recorded)
    with connection(url) as client:
        client.sendall(_LIVE.replace(b"\r\n\r\n", b'\r\nCookie: a="\\\\"\r\ncookie: b\r\n\r\n'))
        assert answers(client, 1).startswith(b"HTTP/1.1 200 ")
    assert parsed == []


def test_trailers_are_no_headers(settings: Settings) -> None:
    with front_end(settings.replace(allowed_hosts="*")) as url, connection(url) as client:
        client.sendall(_CHUNKED + b'14\r\n{"prompt": "cat"}   \r\n0\r\nIdempotency-Key: a\r\nX-Request-ID: b\r\n\r\n')
        assert b"x-request-id: b" not in answers(client, 1).lower()


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\nA: b\n\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nA b\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        _CHUNKED + b"zz\r\n",
        _CHUNKED + b"-1\r\n",
        _JSON + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused_with_a_problem(url: str, hostile: bytes) -> None:
    with connection(url) as client:
        client.sendall(hostile)
        assert_refused(rest(client), 400, "malformed_request")


def test_another_protocol_ends_the_connection_after_the_answer(url: str) -> None:
    upgrade = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with connection(url) as client:
        client.sendall(upgrade + b"PRI * HTTP/2.0\r\n\r\n")
        received = rest(client)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_body_that_nobody_reads_has_a_deadline(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limit, "HEADER_TIMEOUT_S", 0.5)
    begin = time.monotonic()
    with connection(url) as client, suppress(OSError):
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n")
        assert answers(client, 1).startswith(b"HTTP/1.1 200 ")
        while time.monotonic() - begin < PATIENCE_S:
            client.sendall(b"x" * 100)
            time.sleep(0.02)
    assert time.monotonic() - begin < PATIENCE_S / 2
