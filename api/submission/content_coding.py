"""Undoes the Content-Encoding of a response, with a limit. Some servers compress although nobody asked them to."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_NONE = ("", "identity")
_ZLIB = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_RAW_DEFLATE = -zlib.MAX_WBITS
_STEP_BYTES = 65_536


class CodingFault(Exception):
    """The body cannot be decoded. The message says why."""


class Decoder:
    """Decodes one body, piece by piece. It never makes more than `_STEP_BYTES` at once: a small body may expand a
    thousandfold."""

    def __init__(self, coding: str) -> None:
        """`coding` is the header Content-Encoding.

        Raises:
            CodingFault: it is not gzip, deflate or identity.
        """
        coding = coding.strip().lower()
        if coding not in _NONE + _ZLIB:
            raise CodingFault(f"the server there sent it in the Content-Encoding {coding[:20]!r}")
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB) if coding in _ZLIB else None
        self._is_begun = coding != "deflate"

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """The decoded bytes of the next piece.

        Raises:
            CodingFault: it is damaged.
        """
        if self._zlib is None:
            yield piece
            return
        try:
            while piece and not self._zlib.eof:
                yield self._step(self._zlib, piece)
                piece = self._zlib.unconsumed_tail
        except zlib.error:
            raise CodingFault("the server there compressed it, and it is damaged") from None

    def _step(self, decompressor: zlib._Decompress, piece: bytes) -> bytes:
        """One step. What servers call deflate has a head (RFC 9110, section 8.4.1.2) or none."""
        try:
            return decompressor.decompress(piece, _STEP_BYTES)
        except zlib.error:
            if self._is_begun:
                raise
            self._zlib = zlib.decompressobj(_RAW_DEFLATE)
            return self._zlib.decompress(piece, _STEP_BYTES)
        finally:
            self._is_begun = True

    def end(self) -> None:
        """Check that the body is complete.

        Raises:
            CodingFault: it is not.
        """
        if self._zlib is not None and not self._zlib.eof:
            raise CodingFault("the server there compressed it, and it ends too early")
