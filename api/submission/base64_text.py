"""Decodes large base64 texts with little memory, without keeping other threads waiting."""

from __future__ import annotations

import binascii
import io

_HEAD = b"base64,"
_SLICE_CHARS = 4 * 262_144
"""Decoding one slice takes 1 ms, in which no other thread runs. A multiple of 4, so that no slice but the last one
ends within a group."""


def decode_base64(text: bytes) -> bytes:
    """Decode base64, with or without the head of a `data:` URL.

    Raises:
        binascii.Error: it is not base64.
    """
    head = text.rfind(_HEAD)
    begin = 0 if head < 0 else head + len(_HEAD)
    if text.find(b"=", begin, len(text) - 2) >= 0:
        raise binascii.Error("padding inside the text")
    decoded = io.BytesIO()
    with memoryview(text) as view:
        for start in range(begin, len(text), _SLICE_CHARS):
            decoded.write(binascii.a2b_base64(view[start : start + _SLICE_CHARS], strict_mode=True))
    return decoded.getvalue()  # without a copy
