"""A proxy in front of a service that does wrong things to some requests: it cuts, delays and refuses."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import httpx2

from testing.servers import website

PASS = "pass"
CUT_UPLOAD = "cut_upload"
"""The connection ends before the body is read: the service has seen nothing."""
CUT_ANSWER = "cut_answer"
"""The service has done what was asked, and the client does not learn it."""
CUT_HALFWAY = "cut_halfway"
"""The same, in the middle of the answer."""
DELAY = "delay"
REFUSALS = {"429": 429, "502": 502, "503": 503, "504": 504}
FAULTS = (CUT_UPLOAD, CUT_ANSWER, CUT_HALFWAY, DELAY, *REFUSALS)
_DELAY_S = 0.1
_TIMEOUT_S = 90.0
_PER_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "host"})


@dataclass
class FaultyProxy:
    """A running proxy."""

    upstream: str
    faults: Iterator[str]
    """What happens to each request, in the order in which they arrive. After the last one, requests pass."""
    url: str = ""
    statuses: Counter[int] = field(default_factory=Counter)
    """How often each status was answered, by the service or the proxy."""
    done: Counter[str] = field(default_factory=Counter)
    """What was done to requests."""
    paths: list[str] = field(default_factory=list)
    """Method and path of every request."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, request: str) -> str:
        """What to do to this request."""
        with self._lock:
            fault = next(self.faults, PASS)
            self.done[fault] += 1
            self.paths.append(request)
        return fault

    def count(self, status: int) -> None:
        """An answer with this status was sent."""
        with self._lock:
            self.statuses[status] += 1


@contextmanager
def faulty_proxy(upstream: str, faults: Iterator[str]) -> Iterator[FaultyProxy]:
    """A proxy on loopback in front of the service at `upstream`."""
    proxy = FaultyProxy(upstream, faults)
    with httpx2.Client(base_url=upstream, timeout=_TIMEOUT_S, verify=False) as client:

        class Handler(_Handler):
            state = proxy
            service = client

        with website(Handler) as url:
            proxy.url = url
            yield proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: FaultyProxy
    service: httpx2.Client

    def _do(self) -> None:
        fault = self.state.next_fault(f"{self.command} {self.path}")
        if fault == CUT_UPLOAD:
            self._cut()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in REFUSALS:
            self._answer(REFUSALS[fault], {"Retry-After": "0"}, b"no document of the service")
            return
        if fault == DELAY:
            time.sleep(_DELAY_S)
        self._forward(fault, body)

    do_GET = do_POST = do_DELETE = _do  # noqa: N815 - http.server calls these names

    def _forward(self, fault: str, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _PER_HOP}
        answer = self.service.request(self.command, self.path, content=body, headers=headers)
        if fault == CUT_ANSWER:
            self._cut()
            return
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _PER_HOP}
        self._answer(answer.status_code, kept, answer.content, is_cut=fault == CUT_HALFWAY)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, is_cut: bool = False) -> None:
        self.state.count(status)
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Nothing is logged."""
