"""Resolves host names from clients, without letting one client's names delay those of others."""

from __future__ import annotations

import socket
from functools import partial

from shared.fair_threads import FairThreads

_THREADS = 64
"""Threads that wait for name servers. Many, as a name server that does not answer keeps one for up to 30 s."""


class Resolver:
    """Asks the system's resolver in threads, which clients share."""

    def __init__(self) -> None:
        self._threads = FairThreads(_THREADS, "resolver")

    def close(self) -> None:
        """Begin no further look-up."""
        self._threads.close()

    async def addresses(self, host: str, client: str) -> list[str]:
        """All addresses of a host, as text. Waits while this client has its share of look-ups in progress.

        Raises:
            OSError, UnicodeError: the name does not resolve.
        """
        return await self._threads.run(client, partial(_lookup, host))


def _lookup(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
