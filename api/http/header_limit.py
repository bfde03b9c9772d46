"""uvicorn's HTTP protocol with a deadline and a size limit for headers. uvicorn itself has neither."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.problems import raw_problem
from shared.errors import HeadersTooLarge, MaskqError, RequestTimedOut

HEADER_TIMEOUT_S = 10.0
"""Longest wait for the headers of a request, and for the first bytes of a connection."""
_MAX_HEADER_BYTES = 65_536
"""Twice what nginx accepts by default."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection if the headers of a request are too long or do not arrive in time. The time starts with their
    first byte, or for the first request with the connection. Between requests, uvicorn closes silent connections."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the headers of the first request."""
        super().connection_made(transport)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of headers, and refuse them above the limit."""
        if self._deadline is None and self._is_between_requests:
            self._start_clock()
        self._header_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._header_bytes > _MAX_HEADER_BYTES:
            self._refuse(HeadersTooLarge(f"the headers may have at most {_MAX_HEADER_BYTES:,} bytes"))

    def on_headers_complete(self) -> None:
        """Stop the time: the headers are complete."""
        self._stop_clock()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time: the client is gone."""
        self._stop_clock()
        super().connection_lost(exc)

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _start_clock(self) -> None:
        self._header_bytes = 0
        late = RequestTimedOut(f"the headers did not arrive within {HEADER_TIMEOUT_S:g} s")
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._refuse, late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: MaskqError) -> None:
        self._stop_clock()
        if not self.transport.is_closing():
            self.transport.write(raw_problem(error))
            self.transport.close()
