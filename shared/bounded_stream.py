"""A connection to a server that a client named, which may answer with nonsense without an end."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore2

_HEADER_BYTES = 32_768
"""Most bytes before the end of a response's headers, TLS excluded. nginx takes 8 kB of servers behind it."""
_HEADER_READ_BYTES = 4_096
"""Read at once. Parsing this many, for example as 160 responses `100 Continue`, holds the event loop for 5 ms."""


@dataclass
class HeaderBudget:
    """What one request may still read before its response begins."""

    left_bytes: int | None = _HEADER_BYTES
    """None: the headers have arrived."""


HEADER_BUDGET: ContextVar[HeaderBudget] = ContextVar("header_budget")
"""That of the request for which the present task connects. httpcore tells whoever connects nothing about it."""


class BoundedStream(httpcore2.AsyncNetworkStream):
    """Reads little at a time, and not much in all, until the headers of the response have arrived."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, budget: HeaderBudget) -> None:
        self._stream = stream
        self._budget = budget

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's
        """The next bytes.

        Raises:
            RemoteProtocolError: the headers are too long.
        """
        budget = self._budget
        if budget.left_bytes is None:
            return await self._stream.read(max_bytes, timeout)
        if budget.left_bytes <= 0:
            raise httpcore2.RemoteProtocolError("the headers are too long")
        received = await self._stream.read(min(max_bytes, _HEADER_READ_BYTES), timeout)
        budget.left_bytes -= len(received)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore's
        """Send bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's
    ) -> httpcore2.AsyncNetworkStream:
        """The same connection with TLS."""
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._budget)

    def get_extra_info(self, info: str) -> Any:
        """What is known about the connection."""
        return self._stream.get_extra_info(info)
