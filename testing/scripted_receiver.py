"""A receiver of webhooks in a thread: a real HTTP server that keeps what it received and answers by a script."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook as Verifier

from testing.servers import serving


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    """Seconds of the monotonic clock."""

    def verified(self, secret: str) -> Any:
        """The message in it.

        Raises:
            WebhookVerificationError: it is not signed with this secret.
        """
        return Verifier(secret).verify(self.body, dict(self.headers))

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[BaseHTTPRequestHandler], None]
"""Writes the response to one request."""


def status(code: int, **headers: str) -> Answer:
    """Answer with a status and headers; `_` in their names becomes `-`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def slow(seconds: float) -> Answer:
    """Answer 200 after so many seconds."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        status(200)(handler)

    return answer


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def half_a_head(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection in the middle of the response header."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    handler.close_connection = True


def not_http(handler: BaseHTTPRequestHandler) -> None:
    """Answer in another protocol."""
    handler.wfile.write(b"220 mail.example ESMTP\r\n")
    handler.close_connection = True


def endless_head(handler: BaseHTTPRequestHandler) -> None:
    """Send a response header that does not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _write_until_closed(handler, b"X-More: " + b"x" * 1_000 + b"\r\n")


def endless_body(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200 with a body that does not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    _write_until_closed(handler, bytes(65_536))


def raw(response: bytes) -> Answer:
    """Answer with these bytes, and close the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(response)
        handler.close_connection = True

    return answer


def endless_informational(handler: BaseHTTPRequestHandler) -> None:
    """Answer 100 again and again, never with a final response."""
    _write_until_closed(handler, b"HTTP/1.1 100 Continue\r\n\r\n")


def _write_until_closed(handler: BaseHTTPRequestHandler, part: bytes) -> None:
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(part)
    except OSError:
        return


@dataclass
class Receiver:
    """Keeps what it received. Answers with `answers`, one after the other, and then always with 204."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    _has_received: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self.port}/hook"

    def wait_for(self, count: int, max_s: float = 60.0) -> list[Received]:
        """All that it received, once that is at least `count` requests."""
        with self._has_received:
            assert self._has_received.wait_for(lambda: len(self.received) >= count, max_s), self.received
            return list(self.received)

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._has_received:
            self.received.append(Received(handler.path, headers, body, time.monotonic()))
            answer = self.answers.pop(0) if self.answers else status(204)
            self._has_received.notify_all()
        answer(handler)

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        """Listen while the context lasts, each time on the same port."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._take(self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        with _Server(("127.0.0.1", self.port), Handler) as server:
            self.port = server.server_port
            with serving(server):
                yield self


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: the client closed the connection."""
