"""Connections to a front end, byte by byte."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 20


@contextmanager
def connection(url: str, source: str = "127.0.0.1", receive_buffer_bytes: int = 0) -> Iterator[socket.socket]:
    """A connection to `http://HOST:PORT` from the address `source`."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as client:
        if receive_buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        client.settimeout(PATIENCE_S)
        client.bind((source, 0))
        client.connect((host, int(port)))
        yield client


def rest(client: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    received = b""
    try:
        while chunk := client.recv(65_536):
            received += chunk
    except (ConnectionResetError, BrokenPipeError):
        pass
    return received


def answers(client: socket.socket, count: int) -> bytes:
    """The bytes that arrive until the statuses of `count` answers are among them, or the connection ends."""
    received = b""
    while received.count(b"HTTP/1.1 ") < count and (chunk := client.recv(65_536)):
        received += chunk
    return received


def assert_refused(answer: bytes, status: int, code: str) -> None:
    """Check that an answer is a problem document of this type, with the headers of all answers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert json.loads(body)["type"] == code
