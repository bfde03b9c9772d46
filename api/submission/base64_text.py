"""Decodes base64 as programs write it, with little memory and without keeping other threads waiting."""

from __future__ import annotations

import binascii
import io

_SLICE_CHARS = 4 * 262_144
"""Decoding one slice takes 1 ms, in which no other thread runs."""
_WHITE = b" \t\r\n\v\f"
_QUOTES = b"\"'"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARK = b"base64,"
_MAX_HEAD_BYTES = 100
_IMAGES = (b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR")
"""Beginnings of images."""
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ESCAPES = {
    b"%2b": b"+",
    b"%2f": b"/",
    b"%3d": b"=",
    b"%0a": b"",
    b"%0d": b"",
    b"%20": b"",
    rb"\n": b"",
    rb"\r": b"",
    rb"\/": b"/",
}
"""Escaped symbols and line ends. `%` and `\\` are no symbols of base64."""


def decode_base64(text: bytes) -> bytes:
    """Decode base64 of either alphabet, with or without line breaks, padding, quotes, the `b'...'` that Python prints,
    and the end of the head of a `data:` URL.

    Raises:
        binascii.Error: it is not base64.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK).strip(_WHITE)
    if text[:2] in (b"b'", b'b"'):
        text = text[1:]
    text = text.strip(_QUOTES)
    begin = text.find(_MARK, 0, _MAX_HEAD_BYTES)
    if begin >= 0:
        text = text[begin + len(_MARK) :]
    if b"%" in text or b"\\" in text:
        text = _unescaped(text)
    decoded, rest, end = io.BytesIO(), b"", len(text.rstrip(_WHITE + b"="))
    with memoryview(text) as view:
        for start in range(0, end, _SLICE_CHARS):
            symbols = bytes(view[start : min(start + _SLICE_CHARS, end)]).translate(_FROM_URL_SAFE, _WHITE)
            if b"=" in symbols:
                raise binascii.Error("padding inside the text")
            symbols = rest + symbols
            whole = len(symbols) // 4 * 4
            decoded.write(binascii.a2b_base64(symbols[:whole], strict_mode=True))
            rest = symbols[whole:]
    decoded.write(binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=bool(rest)))
    return decoded.getvalue()  # without a copy


def _unescaped(text: bytes) -> bytes:
    for escape, symbol in _ESCAPES.items():
        text = text.replace(escape, symbol).replace(escape.upper() if b"%" in escape else escape, symbol)
    return text


def is_base64_image(text: str | bytes) -> bool:
    """Whether this is the base64 of a JPEG, PNG, GIF or WebP, by its beginning."""
    beginning = text[:20] if isinstance(text, bytes) else text[:20].encode("utf-8", "replace")
    return beginning.strip(_WHITE + _QUOTES).startswith(_IMAGES)
