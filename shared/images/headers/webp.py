"""WebP: the first chunk of a RIFF file. The format is in https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

import struct

from shared.images.headers.header import ImageHeader, damaged

_FIRST = 20
"""Where the data of the first chunk begins."""


def read_webp(webp: bytes) -> ImageHeader:
    """The header of a WebP.

    Raises:
        ImageUnreadable: the first chunk is none of the three that a WebP begins with.
        struct.error: the file ends inside that chunk.
    """
    (length,) = struct.unpack_from("<I", webp, 4)
    width, height = _size(webp)
    return ImageHeader("WEBP", width, height, is_complete=len(webp) >= 8 + length)


def _size(webp: bytes) -> tuple[int, int]:
    name = webp[12:16]
    if name == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", webp, _FIRST + 4)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if name == b"VP8L":
        signature, packed = struct.unpack_from("<BI", webp, _FIRST)
        if signature == 0x2F:
            return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if name == b"VP8 ":
        start_code, width, height = struct.unpack_from("<3sHH", webp, _FIRST + 3)
        if start_code == b"\x9d\x01\x2a" and width & 0x3FFF and height & 0x3FFF:
            return width & 0x3FFF, height & 0x3FFF
    raise damaged("it does not begin with an image")
