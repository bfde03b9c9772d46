"""PNG: chunks. The format is in https://www.w3.org/TR/png-3/, section 5."""

from __future__ import annotations

import struct

from shared.images.headers.header import ImageHeader, damaged, too_many_parts

_HEAD = struct.Struct(">I4s")
_FIRST = 8
_MAX_CHUNKS = 20_000
"""Encoders pack 8 kB into a chunk, so a file of 30 MB has 3,700; some write a chunk for each row."""
_ONCE = frozenset({b"IHDR", b"PLTE", b"iCCP"})
"""A decoder unpacks each color profile, up to 1 MB from 1 kB."""


def read_png(png: bytes) -> ImageHeader:
    """The header of a PNG.

    Raises:
        ImageUnreadable: it does not begin with IHDR, or a chunk is repeated that must not be, or there are too many.
        struct.error: the file ends inside IHDR.
    """
    length, name, width, height = struct.unpack_from(">I4sII", png, _FIRST)
    if (length, name) != (13, b"IHDR") or not width or not height:
        raise damaged("it does not begin with the size of the image")
    at, seen = _FIRST, set[bytes]()
    for _ in range(_MAX_CHUNKS):
        if at + _HEAD.size > len(png):
            return ImageHeader("PNG", width, height, is_complete=False)
        length, name = _HEAD.unpack_from(png, at)
        if name == b"IEND":
            return ImageHeader("PNG", width, height, is_complete=b"IDAT" in seen)
        if name in _ONCE and name in seen:
            raise damaged(f"it has two chunks {name.decode()}")
        seen.add(name)
        at += length + 12
    raise too_many_parts()
