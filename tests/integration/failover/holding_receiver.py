"""A receiver of webhooks that answers when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from testing.servers import website


class HoldingReceiver:
    """Answers 200 to all requests once `release` was called."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        """The `webhook-id` of each request that has come."""
        self.url = ""
        self._released = threading.Event()

    def release(self) -> None:
        """Answer."""
        self._released.set()

    def receive(self, webhook_id: str) -> None:
        """Take a request, and return when it is to be answered."""
        self.ids.append(webhook_id)
        self._released.wait(60)


@contextmanager
def holding_receiver() -> Iterator[HoldingReceiver]:
    """A receiver on loopback."""
    receiver = HoldingReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            receiver.receive(self.headers["webhook-id"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Nothing is logged."""

    with website(Handler) as url:
        receiver.url = url
        try:
            yield receiver
        finally:
            receiver.release()
