"""uvicorn's HTTP protocol with deadlines and limits. uvicorn itself has none for headers, and none for sending."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

from api.http.connection_limit import ConnectionLimit
from api.http.cross_origin import AllowedOrigins
from api.http.one_request import OneRequestProtocol
from api.http.problems import raw_problem
from api.http.send_progress import SendProgress
from shared.errors import HeadersTooLarge, MalformedRequest, MaskqError, RequestTimedOut

HEADER_TIMEOUT_S = 10.0
"""Longest wait for the headers of a request, for the first bytes of a connection, and for the rest of a body whose
request is already answered."""
_MAX_HEADER_BYTES = 65_536
"""Twice what nginx accepts by default."""
_MAX_HEADERS = 200
"""Browsers send 30. Every look-up of a header passes all of them."""
_MAX_URL_BYTES = 8_192
"""As nginx. Those of this service have some hundred; their queries are split into parameters several times."""
_LINGER_S = 1.0
"""How long a refused client may read why. If bytes of its request are unread, closing at once discards the answer."""
_LINGER_BYTES = 262_144
"""What is read of such a client meanwhile."""


class BoundedHttpProtocol(OneRequestProtocol):
    """Refuses what is too much or takes too long: connections, headers, and what stands between the chunks of a body
    and behind it. The time for headers starts with their first byte, or for the first request with the connection.
    Between requests, uvicorn closes silent connections."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    """Bytes since the last one of a body, or since the last end of headers."""
    _discarded_bytes = 0

    def __init__(self, *args: Any, limit: ConnectionLimit, origins: AllowedOrigins, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limit = limit
        self._origins = origins
        self._place = ExitStack()
        self._progress = SendProgress()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the headers of the first request, unless there are too many connections."""
        super().connection_made(transport)
        try:
            self._place.enter_context(self._limit.place(self.client[0] if self.client else ""))
            self._start_clock()
        except MaskqError as error:
            self._refuse(error)
            if len(self.connections) > self._limit.most_at_all:
                self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read what belongs to this request, and a little of what is refused."""
        self._discarded_bytes += len(data) if self._is_over else 0
        if self._discarded_bytes > _LINGER_BYTES:
            self.transport.pause_reading()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time, and make room for another connection."""
        self._stop_clock()
        self._place.close()
        super().connection_lost(exc)

    def feed(self, piece: bytes) -> None:
        """Count what is no body, and refuse it above the limit."""
        is_in_headers = self._is_in_headers
        if is_in_headers and self._deadline is None:
            self._start_clock()
        self._header_bytes += len(piece)
        if not is_in_headers:
            super().feed(piece)  # a body in it sets the count to 0
        if self._header_bytes > _MAX_HEADER_BYTES:
            self._refuse(HeadersTooLarge(f"the headers may have at most {_MAX_HEADER_BYTES:,} bytes"))
        elif is_in_headers:
            super().feed(piece)

    def on_headers_complete(self) -> None:
        """Stop the time: the headers are complete. Cookies are dropped: nothing here uses them, FastAPI splits them for
        every route, and Python takes 20 s to undo the quotes of one with 60 kB."""
        self._stop_clock()
        self._header_bytes = 0
        if excess := self._excess():
            self._refuse(HeadersTooLarge(excess))
            raise RuntimeError(excess)  # stops the parser
        self.headers[:] = [header for header in self.headers if header[0] != b"cookie"]  # `scope` has this list
        super().on_headers_complete()

    def _excess(self) -> str:
        if len(self.headers) > _MAX_HEADERS:
            return f"there may be at most {_MAX_HEADERS} headers"
        return f"the URL may have at most {_MAX_URL_BYTES:,} bytes" if len(self.url) > _MAX_URL_BYTES else ""

    def on_body(self, body: bytes) -> None:
        """Count anew: the client is sending a body."""
        self._header_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the time for the rest of a body, if it runs."""
        self._stop_clock()
        self._header_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Limit the time for the rest of a body that nobody reads."""
        super().on_response_complete()
        if not self._is_in_headers and self._deadline is None:
            self._start_clock()

    def resume_writing(self) -> None:
        """The client has taken most of what waited for it, and more will be added."""
        self._progress = SendProgress()
        super().resume_writing()

    def abort_if_stuck(self, now_s: float) -> None:
        """Close the connection if its client does not take what is sent. To be called every second or so."""
        if self._progress.is_stuck(self.transport.get_write_buffer_size(), now_s):
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(MalformedRequest("this is not a request of HTTP/1.1"))

    def _start_clock(self) -> None:
        late = RequestTimedOut(f"the headers did not arrive within {HEADER_TIMEOUT_S:g} s")
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._refuse, late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @property
    def _origin(self) -> str | None:
        """That of the request that is arriving. None if it has not arrived."""
        headers = self.scope["headers"] if self.scope else ()
        return next((value.decode("latin-1") for name, value in headers if name == b"origin"), None)

    def _refuse(self, error: MaskqError) -> None:
        """Answer with an error instead of the request that is arriving, if it has no answer yet, and close."""
        self._stop_clock()
        if self._is_over:
            return
        self._is_last = True
        if self._is_in_headers or not self.cycle.response_started:
            self.transport.write(raw_problem(error, self._origins.headers(self._origin)))
            self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.abort)
        else:
            self.transport.close()
        if not self._is_in_headers:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
