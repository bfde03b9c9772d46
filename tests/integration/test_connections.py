"""Many connections, and clients that do not read: they are closed, and others are served meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from api.http import send_progress
from api.server import FrontEndServer
from local.broker import free_port
from shared.settings import Settings
from testing.servers import front_end, front_end_server
from tests.connections import PATIENCE_S, answers, assert_refused, connection, rest

_LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LARGE = b"GET /assets/swagger-ui-5.35.0/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def few(settings: Settings) -> Iterator[str]:
    """The address of a front end that takes 16 connections and trusts no proxy on 127.0.0.1."""
    with front_end(settings.replace(max_connections=16, forwarded_allow_ips="10.0.0.1")) as url:
        yield url


def _is_served(url: str, source: str = "127.0.0.2") -> bool:
    with connection(url, source) as client:
        client.sendall(_LIVE)
        return answers(client, 1).startswith(b"HTTP/1.1 200 ")


def test_one_address_cannot_take_all_connections(few: str) -> None:
    with ExitStack() as kept:
        clients = [kept.enter_context(connection(few)) for _ in range(16)]
        for client in clients[:12]:  # three quarters
            client.sendall(_LIVE)
            assert answers(client, 1).startswith(b"HTTP/1.1 200 ")
        for client in clients[12:]:
            assert_refused(rest(client), 429, "share_exceeded")
        assert _is_served(few)


def test_a_refused_client_that_has_sent_its_request_reads_why(few: str) -> None:
    with ExitStack() as kept:
        for _ in range(12):
            kept.enter_context(connection(few))
        with httpx2.Client(base_url=few, timeout=PATIENCE_S) as client:
            assert client.post("/segment/", content=bytes(50_000)).status_code == 429


def test_connections_that_end_make_room(few: str) -> None:
    for _ in range(40):
        assert _is_served(few, "127.0.0.1")


def test_when_all_connections_are_taken_others_are_told(few: str) -> None:
    with ExitStack() as kept:
        for number in range(16):
            kept.enter_context(connection(few, f"127.0.1.{number + 1}"))
        with connection(few, "127.0.0.9") as client:
            assert_refused(rest(client), 503, "server_busy")
        for _ in range(100):  # more than may wait to read why
            with connection(few, "127.0.0.9") as client:
                rest(client)


def test_a_trusted_proxy_brings_many_clients_and_leaves_a_place_for_a_health_check(settings: Settings) -> None:
    with (
        front_end(settings.replace(max_connections=100, forwarded_allow_ips="127.0.0.1")) as url,
        ExitStack() as kept,
    ):
        clients = [kept.enter_context(connection(url)) for _ in range(97)]
        for client in clients:
            client.sendall(_LIVE)
            assert answers(client, 1).startswith(b"HTTP/1.1 200 ")
        with connection(url) as one_more:
            assert_refused(rest(one_more), 429, "share_exceeded")
        assert _is_served(url)


@pytest.fixture
def impatient(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontEndServer]:
    monkeypatch.setattr(send_progress, "SEND_TIMEOUT_S", 1.0)
    with front_end_server(settings) as server:
        yield server


def _ends(server: FrontEndServer) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    return not server.server_state.connections


@pytest.mark.slow
@pytest.mark.parametrize(
    "requests", [_LARGE, _LARGE * 10, _LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
)
def test_a_client_that_reads_nothing_is_closed(impatient: FrontEndServer, requests: bytes) -> None:
    with ExitStack() as kept:
        for _ in range(20):
            client = kept.enter_context(
                connection(f"http://127.0.0.1:{impatient.config.port}", receive_buffer_bytes=4_096)
            )
            client.sendall(requests)
        assert _is_served(f"http://127.0.0.1:{impatient.config.port}")
        assert _ends(impatient)


@pytest.mark.slow
def test_a_client_that_reads_slowly_gets_the_whole_answer(impatient: FrontEndServer) -> None:
    with connection(f"http://127.0.0.1:{impatient.config.port}", receive_buffer_bytes=4_096) as client:
        client.sendall(_LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received, begin = 0, time.monotonic()
        while chunk := client.recv(4_096):
            received += len(chunk)
            time.sleep(max(0.0, begin + received / 400_000 - time.monotonic()))  # 400 kB/s: 4 s
    assert received > 1_500_000


@pytest.mark.slow
def test_many_clients_that_read_nothing_do_not_use_up_the_open_files(valkey_url: str) -> None:
    """250 of them, and a process that may open 200 files: others are served."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "REDIS_URL": valkey_url, "FORWARDED_ALLOW_IPS": "10.0.0.1"}
    command = [sys.executable, "-m", "api", "--port", str(port)]
    limited = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *command]
    with subprocess.Popen(limited, env=environment, stderr=subprocess.PIPE) as process, ExitStack() as kept:
        try:
            _wait_until_served(url)
            for _ in range(250):
                client = kept.enter_context(connection(url, receive_buffer_bytes=4_096))
                try:
                    client.sendall(_LARGE)
                except ConnectionError:
                    continue  # refused
            begin = time.monotonic()
            assert all(_is_served(url) for _ in range(20))
            assert time.monotonic() - begin < 10
        finally:
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=30)[1].decode()
    assert "may open 200 files, so it takes 100 connections at once" in log


def _wait_until_served(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if _is_served(url):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the front end did not start")
