"""A client that disconnects while it waits is no longer counted as a waiter."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest

from api.server import FrontEndServer
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.raw_http import form_request, get_request
from testing.servers import front_end_server
from tests.jobs import PNG, finish_next, submit

_LONG_S = 20
"""Upper bound for the wait of a client that has disconnected."""


@pytest.fixture
def server(settings: Settings) -> Iterator[FrontEndServer]:
    with front_end_server(settings) as server:
        yield server


def _submit(server: FrontEndServer) -> str:
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.config.port}") as client:
        job_id: str = submit(client).json()["id"]
        return job_id


def _long_poll(server: FrontEndServer) -> bytes:
    return get_request(f"/jobs/{_submit(server)}?wait=60")


def _patient_submit(server: FrontEndServer) -> bytes:
    request = form_request("/segment/", {"prompt": "cat"}, "image_file", PNG)
    return request.replace(b"\r\n", b"\r\nPrefer: wait=60\r\n", 1)


def _connection(server: FrontEndServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.config.port), timeout=_LONG_S)


def _eventually(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _LONG_S
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)
    return happened()


@pytest.mark.parametrize("request_for", [_long_poll, _patient_submit])
def test_a_client_that_disconnects_is_no_longer_a_waiter(
    server: FrontEndServer, request_for: Callable[[FrontEndServer], bytes]
) -> None:
    watcher = server.app.state.services.watcher
    request = request_for(server)
    with ExitStack() as open_connections:
        clients = [open_connections.enter_context(_connection(server)) for _ in range(20)]
        for client in clients:
            client.sendall(request)
        assert _eventually(lambda: len(watcher) == 20)
        for client in clients[5:]:
            client.close()
        assert _eventually(lambda: len(watcher) == 5)
    assert _eventually(lambda: len(watcher) == 0)


def test_other_waiters_are_answered_after_one_disconnects(server: FrontEndServer, leases: LeaseStore) -> None:
    watcher = server.app.state.services.watcher
    request = _long_poll(server)
    with _connection(server) as patient, _connection(server) as hasty:
        patient.sendall(request)
        hasty.sendall(request)
        assert _eventually(lambda: len(watcher) == 2)
        hasty.close()
        assert _eventually(lambda: len(watcher) == 1)
        finish_next(leases)
        assert patient.recv(65_536).startswith(b"HTTP/1.1 200 ")
