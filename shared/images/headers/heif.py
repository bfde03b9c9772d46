"""HEIC and AVIF: the boxes of an ISO base media file. The formats are in ISO 14496-12 and ISO 23008-12."""

from __future__ import annotations

import struct

from shared.errors import ImageUnreadable
from shared.images.headers.header import ImageHeader, damaged, too_many_parts

_Boxes = list[tuple[bytes, int, int]]
"""Name, start and end of the content of each box. The last may end behind the file."""
_MAX_BOXES = 10_000
"""A photo of 50 megapixels has some hundred: it is made of 200 tiles."""
_VERSION_BYTES = 4


def read_heif(heif: bytes, file_format: str) -> ImageHeader:
    """The header of a HEIC or AVIF. Its size is that of the largest picture in it: others are tiles or thumbnails.

    Raises:
        ImageUnreadable: there is no picture, or there are too many boxes.
        struct.error: the file ends inside the head of a box.
    """
    boxes = _boxes(heif, 0, len(heif))
    start, end = _content(boxes, b"meta")
    start, end = _content(_boxes(heif, start + _VERSION_BYTES, end), b"iprp")
    start, end = _content(_boxes(heif, start, end), b"ipco")
    properties = _boxes(heif, start, end)
    places = [start + _VERSION_BYTES for name, start, _ in properties if name == b"ispe"]
    sizes = [struct.unpack_from(">II", heif, place) for place in places]
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    if not width or not height:
        raise damaged("it does not state the size of the image")
    _, data_end = _content(boxes, b"mdat")
    return ImageHeader(file_format, width, height, is_complete=data_end <= len(heif))


def _boxes(heif: bytes, at: int, end: int) -> _Boxes:
    """The boxes between two places, without those inside them."""
    boxes: _Boxes = []
    while at + 8 <= min(end, len(heif)):
        length, name = struct.unpack_from(">I4s", heif, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", heif, at + 8)
            head = 16
        next_at = at + length if length else end  # 0: the box ends with the file
        boxes.append((name, at + head, next_at))
        if len(boxes) > _MAX_BOXES:
            raise too_many_parts()
        if length and length < head:
            return boxes  # what stands here is no box
        at = next_at
    return boxes


def _content(boxes: _Boxes, name: bytes) -> tuple[int, int]:
    for each, start, end in boxes:
        if each == name:
            return start, end
    raise ImageUnreadable("the file ends before the image begins")
