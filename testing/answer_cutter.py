"""A proxy in front of Redis that loses answers: the server does what was asked, and its client does not learn it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from socketserver import BaseRequestHandler, ThreadingTCPServer

from shared.store.lua_script import LuaScript
from testing.servers import serving

_PIECE_BYTES = 65_536


class AnswerCutter:
    """A running proxy. Closes a connection in place of an answer, as often as it was told to."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self._marker = b""
        self._left = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """REDIS_URL of its clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def left(self) -> int:
        """How many answers it will cut."""
        return self._left

    def cut_script(self, name: str, times: int = 1) -> None:
        """Lose the answers to the next calls of `scripts/NAME.lua`. The server must know it already."""
        digest = sha1(LuaScript.load(name).source.encode(), usedforsecurity=False)
        self.cut(digest.hexdigest().encode(), times)

    def cut(self, marker: bytes, times: int = 1) -> None:
        """Lose the answers to the next requests with these bytes in them."""
        with self._lock:
            self._marker, self._left = marker, times

    def is_to_cut(self, request: bytes) -> bool:
        """Whether to lose the answer to this request, which has arrived."""
        with self._lock:
            is_cut = self._left > 0 and self._marker in request
            self._left -= is_cut
            return is_cut


@contextmanager
def answer_cutter(upstream_port: int) -> Iterator[AnswerCutter]:
    """A proxy on loopback in front of the server at this port of loopback."""
    cutter = AnswerCutter(upstream_port)

    class Handler(_Handler):
        state = cutter

    with _Server(("127.0.0.1", 0), Handler) as server, serving(server):
        cutter.port = server.server_address[1]
        yield cutter


class _Server(ThreadingTCPServer):
    daemon_threads = True


class _Handler(BaseRequestHandler):
    state: AnswerCutter

    def handle(self) -> None:
        self._is_cut = False
        client: socket.socket = self.request
        with socket.create_connection(("127.0.0.1", self.state.upstream_port)) as server:
            threading.Thread(target=self._forward, args=[client, server], daemon=True).start()
            with suppress(OSError):
                while (answer := server.recv(_PIECE_BYTES)) and not self._is_cut:
                    client.sendall(answer)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while request := client.recv(_PIECE_BYTES):
                self._is_cut = self._is_cut or self.state.is_to_cut(request)
                server.sendall(request)
            server.shutdown(socket.SHUT_WR)
