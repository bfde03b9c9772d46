"""uvicorn's HTTP protocol, which parses a request only after the one before it was answered.

uvicorn parses whatever arrives. A client that does not wait for answers could make this process keep any number of
requests, and headers to which no limit applies.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HELD_BYTES = 65_536
"""Bytes of later requests that wait unparsed before reading stops. Some are read, because only while a connection is
read is it noticed that its client hangs up."""


class OneRequestProtocol(HttpToolsProtocol):
    """Feeds the parser up to the end of one request, and keeps the bytes behind it until that request is answered."""

    _held = b""
    _at = 0
    """Where in `_held` the bytes begin that the parser has not had."""
    _body_left: int | None = 0
    """Bytes of the body that are still to come. None: the body is chunked, and only the parser finds its end."""
    _is_in_headers = True
    """The next byte belongs to the headers of a request, or stands before them."""
    _is_last = False
    """Nothing more is parsed; the connection ends with the answer in progress."""

    def data_received(self, data: bytes) -> None:
        """Parse as far as the end of this request."""
        self._held, self._at = self._held[self._at :] + data, 0
        self._parse()

    def on_response_complete(self) -> None:
        """Continue with what arrived meanwhile."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._parse()

    def on_message_begin(self) -> None:
        """A request begins. Behind a chunked body one may begin too early; then the parser stops."""
        if self._is_answering:
            raise RuntimeError("the request before is not answered")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. A trailer of a chunked body is none: the application has begun and has seen the headers."""
        if self._is_in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, and note where its body ends."""
        super().on_headers_complete()
        headers = dict(self.headers)
        self._body_left = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
        self._is_in_headers = False

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body."""
        if self._body_left is not None:
            self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request has arrived."""
        self._is_in_headers = True
        super().on_message_complete()

    @property
    def _is_answering(self) -> bool:
        """A whole request has arrived, and its answer is not complete."""
        return self._is_in_headers and self.cycle is not None and not self.cycle.response_complete

    def feed(self, piece: bytes) -> None:
        """Give bytes to the parser. They hold at most one end of a request, unless its body is chunked."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:  # this service speaks no other protocol
            self._end_after_answer()
        except httptools.HttpParserError:
            if self._is_answering:
                self._end_after_answer()
            else:
                self.send_400_response("Invalid HTTP request received.")

    @property
    def _is_over(self) -> bool:
        return self._is_last or self.transport.is_closing()

    def _parse(self) -> None:
        while self._at < len(self._held) and not (self._is_answering or self._is_over):
            self._unset_keepalive_if_required()
            piece = self._held[self._at : self._piece_end()]
            self._at += len(piece)
            self.feed(piece)
        if self._is_over:
            self._held, self._at = b"", 0
        elif len(self._held) - self._at > _HELD_BYTES:
            self.transport.pause_reading()

    def _piece_end(self) -> int:
        """Where in `_held` a request may end: with a line, or with its body if that has a Content-Length."""
        if self._is_in_headers:
            return self._held.find(b"\n", self._at) + 1 or len(self._held)
        return len(self._held) if self._body_left is None else self._at + self._body_left

    def _end_after_answer(self) -> None:
        self._is_last = True
        self.cycle.keep_alive = False
