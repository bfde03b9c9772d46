"""TIFF: the directory of the first page. The format is in https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf"""

from __future__ import annotations

import struct

from shared.errors import UnsupportedImage
from shared.images.headers.header import ImageHeader, damaged, too_many_parts

_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLORS, _SAMPLE = 254, 256, 257, 258, 259, 262, 339
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325
_READ = {
    _KIND,
    _WIDTH,
    _HEIGHT,
    _BITS,
    _COMPRESSION,
    _COLORS,
    _SAMPLE,
    _STRIP_OFFSETS,
    _STRIP_BYTES,
    _TILE_OFFSETS,
    _TILE_BYTES,
}
_SENSOR, _LINEAR = 32_803, 34_892
"""Colors of raw photos: one for each pixel in turn, or all of them."""
_FLOAT = 3
_NUMBERS = {3: "H", 4: "I", 16: "Q"}
"""Types of numbers, as `struct` calls them."""
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 7, 8, 32_773, 32_946})
"""None, fax, LZW, JPEG, Deflate and PackBits: what scanners and programs write. libtiff reads a dozen more, seldom used
and seldom tested ones."""
_Tags = dict[int, tuple[int, ...]]
_MAX_ENTRIES = 1_000
_MAX_PARTS = 100_000
"""Strips or tiles: a row may be a strip of its own."""


def read_tiff(tiff: bytes) -> ImageHeader:
    """The header of the first page of a TIFF.

    Raises:
        ImageUnreadable: the directory states no size, or is too long.
        UnsupportedImage: it is a raw photo, or its pixels are of a kind, or compressed in a way, that is seldom used.
        struct.error: the directory is not in the file.
    """
    tags = _directory(tiff)
    if _first(tags, _KIND) & 1 or _first(tags, _COLORS) in (_SENSOR, _LINEAR):  # most begin with a small preview
        raise UnsupportedImage("this is a raw photo; send the photo that the camera made of it")
    width, height = _first(tags, _WIDTH), _first(tags, _HEIGHT)
    if not width or not height:
        raise damaged("it does not state the size of the image")
    if (compression := _first(tags, _COMPRESSION) or 1) not in _COMPRESSIONS:
        raise UnsupportedImage(
            f"this is a TIFF with compression {compression}; save it with LZW or without compression"
        )
    channels = len(tags.get(_BITS, (1,)))
    if channels > 1 and (max(tags[_BITS]) > 16 or _first(tags, _SAMPLE) == _FLOAT):
        raise UnsupportedImage("this is a TIFF whose colors are no integers of 8 or 16 bits; save it with 8")
    return ImageHeader("TIFF", width, height, is_complete=_end(tags) <= len(tiff))


def _directory(tiff: bytes) -> _Tags:
    """Those tags of the first directory that are read here."""
    order = "<" if tiff[:2] == b"II" else ">"
    is_big = tiff[2:4] in (b"+\0", b"\0+")
    place, counter = ("Q", "Q") if is_big else ("I", "H")
    (start,) = struct.unpack_from(order + place, tiff, 8 if is_big else 4)
    (entries,) = struct.unpack_from(order + counter, tiff, start)
    if entries > _MAX_ENTRIES:
        raise too_many_parts()
    head, room = struct.Struct(order + "HH" + place), struct.calcsize(place)
    tags: _Tags = {}
    for number in range(entries):
        at = start + struct.calcsize(counter) + number * (head.size + room)
        tag, kind, values = head.unpack_from(tiff, at)
        if tag in _READ and tag not in tags and kind in _NUMBERS:
            if values > _MAX_PARTS:
                raise too_many_parts()
            numbers = struct.Struct(f"{order}{values}{_NUMBERS[kind]}")
            at += head.size
            tags[tag] = numbers.unpack_from(
                tiff, at if numbers.size <= room else struct.unpack_from(order + place, tiff, at)[0]
            )
    return tags


def _first(tags: _Tags, tag: int) -> int:
    return next(iter(tags.get(tag, ())), 0)


def _end(tags: _Tags) -> int:
    """Where the last strip or tile ends."""
    pairs = ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES))
    return max(
        (sum(part) for each in pairs for part in zip(*(tags.get(tag, ()) for tag in each), strict=False)), default=0
    )
