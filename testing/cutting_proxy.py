"""A TCP proxy in a process of its own, in front of several servers, that can stop what passes between any two of them.

    python -m testing.cutting_proxy '[["127.1.1.1", 6379], ["127.1.1.2", 6379]]'

It prints the ports at which it listens on loopback, as a JSON list with one port for each server. Each line that it
reads is the JSON list of the pairs that are cut off from each other from now on: `[["127.1.1.1", "127.1.1.2"]]`. It
prints an empty line when that is so. An end is an address from which connections come or to which they go; `CLIENTS`
are all addresses that no server has. As in a network that is cut, connections stay open and nothing passes; when the
cut ends, what was sent meanwhile arrives. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from functools import partial
from typing import cast

CLIENTS = "clients"
LOOPBACK = "127.0.0.1"


class _End(asyncio.Protocol):
    """One end of a connection through the proxy. What it receives is written to the other end."""

    transport: asyncio.Transport
    other: _End

    def __init__(self) -> None:
        self.is_cut = False
        self.is_other_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.is_other_full = True
        self.other.read_or_pause()

    def resume_writing(self) -> None:
        self.other.is_other_full = False
        self.other.read_or_pause()

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.transport.close()

    def read_or_pause(self) -> None:
        """Receive if what is received can be passed on."""
        if self.is_cut or self.is_other_full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class _Accepted(_End):
    """The end that has connected to us."""

    def __init__(self, proxy: CuttingProxy, server: tuple[str, int]) -> None:
        super().__init__()
        self._proxy = proxy
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.pair = frozenset((self._proxy.end(transport.get_extra_info("peername")[0]), self._server[0]))
        self._connecting = asyncio.create_task(self._connect())

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.links.discard(self)
        self._connecting.cancel()
        if hasattr(self, "other"):
            super().connection_lost(exc)

    def cut(self, *, is_cut: bool) -> None:
        """Stop or pass what comes from both ends."""
        for end in (self, self.other):
            end.is_cut = is_cut
            end.read_or_pause()

    async def _connect(self) -> None:
        try:
            _, self.other = await asyncio.get_running_loop().create_connection(_End, *self._server)
        except OSError:
            self.transport.abort()
            return
        self.other.other = self
        self._proxy.links.add(self)
        self.cut(is_cut=self.pair in self._proxy.cuts)


class CuttingProxy:
    """Listens once for each server."""

    def __init__(self, servers: Iterable[tuple[str, int]]) -> None:
        self._servers = list(servers)
        self.cuts: set[frozenset[str]] = set()
        """The pairs that are cut off from each other."""
        self.links: set[_Accepted] = set()
        """The connections that are open."""

    def end(self, address: str) -> str:
        """The end of a connection that comes from this address."""
        return address if any(address == host for host, _ in self._servers) else CLIENTS

    async def run(self) -> None:
        """Listen until the input ends."""
        loop = asyncio.get_running_loop()
        listening = [await loop.create_server(partial(_Accepted, self, each), LOOPBACK, 0) for each in self._servers]
        print(json.dumps([server.sockets[0].getsockname()[1] for server in listening]), flush=True)
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            self._cut({frozenset(pair) for pair in json.loads(line)})
            print(flush=True)

    def _cut(self, pairs: set[frozenset[str]]) -> None:
        self.cuts = pairs
        for link in self.links:
            link.cut(is_cut=link.pair in pairs)


if __name__ == "__main__":
    asyncio.run(CuttingProxy((host, port) for host, port in json.loads(sys.argv[1])).run())
