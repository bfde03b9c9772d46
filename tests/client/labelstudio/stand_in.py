"""Stands in for Label Studio where it only serves files: a real HTTP server that wants the token."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from testing.servers import website

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL_TOKEN = "header.refresh.signature"
ACCESS_TOKEN = "header.access.signature"
_ACCEPTED = {f"Token {TOKEN}", f"Bearer {ACCESS_TOKEN}"}


@dataclass
class StandIn:
    """Files by path. `/tasks/N/presign/` redirects, or answers with the file if `stored` has it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes | str] = field(default_factory=dict)
    """By the address in a storage: the content, or the URL to which Label Studio redirects."""
    redirects: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, str | None]] = field(default_factory=list)
    """The path and the header `Authorization` of every request."""
    needs_token: bool = True

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        authorization = handler.headers.get("Authorization")
        self.received.append((handler.path, authorization))
        parts = urlsplit(handler.path)
        found = self._stored(parts.query) if parts.path.endswith("/presign/") else self.files.get(parts.path)
        found = self.redirects.get(parts.path, found)
        if self.needs_token and authorization not in _ACCEPTED:
            _reply(handler, 401, b"{}")
        elif isinstance(found, str):
            _reply(handler, 303, b"", Location=found)
        else:
            _reply(handler, 404 if found is None else 200, found or b"")

    def _stored(self, query: str) -> bytes | str | None:
        uri = base64.urlsafe_b64decode(parse_qs(query)["fileuri"][0]).decode()
        return self.stored.get(uri)


@contextmanager
def stand_in(needs_token: bool = True) -> Iterator[StandIn]:
    """A server that runs inside the context."""
    server_state = StandIn(needs_token=needs_token)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server_state.answer(self)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert (self.path, PERSONAL_TOKEN.encode() in body) == ("/api/token/refresh", True)
            server_state.received.append((self.path, self.headers.get("Authorization")))
            _reply(self, 200, f'{{"access": "{ACCESS_TOKEN}"}}'.encode())

        def log_message(self, *_: object) -> None:
            pass

    with website(Handler) as server_state.url:
        yield server_state


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: Any) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "image/png", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
