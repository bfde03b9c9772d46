"""BMP: a header of fixed places. The format is in https://learn.microsoft.com/windows/win32/gdi/bitmap-storage"""

from __future__ import annotations

import struct

from shared.errors import UnsupportedImage
from shared.images.headers.header import ImageHeader, damaged

_OS2_HEADER_BYTES = 12
_EMBEDDED = {4: "JPEG", 5: "PNG"}
_UNCOMPRESSED = {0, 3, 6}
"""Without compression; with masks of bits; with masks and alpha."""


def read_bmp(bmp: bytes) -> ImageHeader:
    """The header of a BMP.

    Raises:
        ImageUnreadable: it states no size.
        UnsupportedImage: another image is in it.
        struct.error: the file ends inside the header.
    """
    start, header_bytes = struct.unpack_from("<II", bmp, 10)
    if header_bytes == _OS2_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<HHHH", bmp, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", bmp, 18)
    if compression in _EMBEDDED:
        raise UnsupportedImage(f"this is a {_EMBEDDED[compression]} in a BMP; send the {_EMBEDDED[compression]} itself")
    if width <= 0 or not height or not 1 <= bits <= 32:
        raise damaged("it does not state the size of the image")
    rows_bytes = (width * bits + 31) // 32 * 4 * abs(height)
    is_complete = compression not in _UNCOMPRESSED or len(bmp) >= start + rows_bytes
    return ImageHeader("BMP", width, abs(height), is_complete)
