"""GIF: blocks up to the end of the first frame. The format is in https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

from __future__ import annotations

import struct

from shared.errors import ImageUnreadable
from shared.images.headers.header import ImageHeader, damaged, too_many_parts

_EXTENSION, _IMAGE = 0x21, 0x2C
_SCREEN_END = 13
_MAX_BLOCKS = 200_000
"""Encoders fill a block with 254 or 255 bytes, so a file of 30 MB has 120,000."""


def read_gif(gif: bytes) -> ImageHeader:
    """The header of a GIF: the smallest size that holds its screen and its first frame.

    Raises:
        ImageUnreadable: there is no frame, or too many blocks stand before its end.
        struct.error: the file ends inside a head.
    """
    width, height, flags = struct.unpack_from("<HHB", gif, 6)
    at, blocks = _SCREEN_END + _palette_bytes(flags), 0
    while gif[at : at + 1] == bytes([_EXTENSION]):
        at, blocks = _after_blocks(gif, at + 2, blocks)
    if gif[at : at + 1] != bytes([_IMAGE]):
        raise ImageUnreadable("the file ends before the image begins") if at >= len(gif) else damaged("it has no frame")
    left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", gif, at + 1)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    if not width or not height:
        raise damaged("it does not state the size of the image")
    end, _ = _after_blocks(gif, at + 11 + _palette_bytes(flags), blocks)
    return ImageHeader("GIF", width, height, is_complete=end <= len(gif))


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(gif: bytes, at: int, blocks: int) -> tuple[int, int]:
    """Where a chain of blocks ends, or past the end of the file; and `blocks` with those of the chain."""
    while at < len(gif) and (length := gif[at]):
        at += length + 1
        blocks += 1
        if blocks > _MAX_BLOCKS:
            raise too_many_parts()
    return at + 1, blocks
