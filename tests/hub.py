"""A small server in place of the Hugging Face hub, with one repository and with faults on request."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from testing.servers import website

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE_BYTES = 1_000
"""The hub identifies a file of at least this size by its SHA-256, like LFS files, and a smaller one by git's digest."""


@dataclass
class Hub:
    """The files of the hub and its faults. A test may change them at any time."""

    repository: str
    files: dict[str, bytes]
    status: int = 200
    """If not 200, the answer to every request."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of that answer."""
    cut: dict[str, int] = field(default_factory=dict)
    """By file: how many responses to break off in the middle."""
    swapped: set[str] = field(default_factory=set)
    """Files whose bytes differ from those that were published."""
    ranges: list[str] = field(default_factory=list)
    """Every `Range` header that was received."""
    sent_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def digest(self, name: str) -> str:
        data = self.files[name]
        if len(data) >= _LARGE_BYTES:
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()

    def sibling(self, name: str) -> dict[str, object]:
        """The description of a file in the hub's API."""
        size, digest = len(self.files[name]), self.digest(name)
        is_large = size >= _LARGE_BYTES
        lfs = {"lfs": {"sha256": digest, "size": size, "pointerSize": 134}} if is_large else {}
        return {"rfilename": name, "size": size, "blobId": digest, **lfs}

    def takes_cut(self, name: str) -> bool:
        with self.lock:
            self.cut[name] = self.cut.get(name, 0) - 1
            return self.cut[name] >= 0


@contextmanager
def running_hub(hub: Hub) -> Iterator[str]:
    """Serve `hub` on loopback. Yields its address."""
    with website(_handler(hub)) as url:
        yield url


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if hub.status != 200:
                self._send(hub.status, b"", hub.headers)
            elif path == f"/api/models/{hub.repository}/revision/main":
                self._send_json(
                    {"id": hub.repository, "sha": COMMIT, "siblings": [hub.sibling(name) for name in hub.files]}
                )
            elif path == f"/api/models/{hub.repository}/tree/{COMMIT}":
                self._send_json([{"type": "file", "path": n, "size": len(d), "oid": "0"} for n, d in hub.files.items()])
            elif path.startswith(f"/{hub.repository}/resolve/{COMMIT}/"):
                self._send_file(path.rpartition("/")[2])
            else:
                self._send(404, b"", {})

        do_HEAD = do_GET  # noqa: N815  the name that http.server looks for

        def _send_json(self, value: object) -> None:
            self._send(200, json.dumps(value).encode(), {})

        def _send_file(self, name: str) -> None:
            data = hub.files[name]
            asked = self.headers.get("Range")
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if asked:
                hub.ranges.append(asked)
            body = (bytes(len(data)) if name in hub.swapped else data)[begin:]
            headers = {"ETag": f'"{hub.digest(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if asked:
                headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            status = 416 if begin >= len(data) else 206 if asked else 200
            self._send(status, body, headers, name)

        def _send(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
            self.send_response(status)
            for header, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            part = body[: len(body) // 2] if name and hub.takes_cut(name) else body
            hub.sent_bytes += len(part)
            self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
