"""JPEG: segments, and scans between them. The format is in https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import ImageUnreadable, UnsupportedImage
from shared.images.headers.header import ImageHeader, damaged, too_many_parts

_EOI, _SOS = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_LS = 0xF7
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
_MAX_SEGMENTS = 5_000
"""A file of 30 MB that is all metadata has 460, of 64 kB each."""
_MAX_SCANS = 100
"""Encoders write 10 scans, and optimizers such as mozjpeg up to 20."""
_MAX_SCANNED_PIXELS = 1_300_000_000
"""Pixels times scans: 20 scans of 65 megapixels. A decoder visits every block in each scan: a scan of 44 bytes costs
17 ms at 25 megapixels."""

_MARKER = re.compile(rb"\xff++([^\x00\xff])", re.DOTALL)
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""In a scan, 0 follows each 0xFF of the data, and restart markers (D0 to D7) belong to it."""
_WINDOW_BYTES = 1 << 18
_MAX_ESCAPES = 4_000_000
"""Bytes 0xFF in all scans: of photos they are 117,000 in 30 MB. The search takes 20 ns for each."""


@dataclass(frozen=True)
class Segment:
    """A segment of a JPEG."""

    marker: int
    data: bytes
    """Without the length before it."""
    end: int
    """Position of the first byte after it."""


@dataclass(frozen=True)
class _Frame:
    marker: int
    width: int
    height: int
    components: int


def read_jpeg(jpeg: bytes) -> ImageHeader:
    """The header of a JPEG, up to the end of its first image.

    Raises:
        ImageUnreadable: a scan has no frame, or a frame follows another, or there are too many scans or segments.
        UnsupportedImage: its samples do not have 8 bits, or it is of a kind that is seldom used.
        struct.error: the file ends inside the frame's head.
    """
    frame, scans, is_complete = None, 0, False
    for segment in segments(jpeg):
        is_complete = segment.marker == _EOI
        if segment.marker in _FRAMES:
            frame = _frame(segment, frame)
        elif segment.marker == _JPEG_LS:
            raise UnsupportedImage("this is JPEG-LS; send an ordinary JPEG")
        elif segment.marker == _SOS:
            scans += 1
            if _is_only_scan(segment, frame, scans):
                # The data of a scan has no EOI in it, and whatever may follow the image is not read.
                is_complete = jpeg.rfind(b"\xff\xd9", segment.end) >= 0
                break
    if not frame or not scans:
        raise ImageUnreadable("the file ends before the image begins")
    return ImageHeader("JPEG", frame.width, frame.height, is_complete)


def segments(jpeg: bytes) -> Iterator[Segment]:
    """The segments up to EOI, or up to the end of a file that has none. The data of scans is skipped.

    Raises:
        ImageUnreadable: other bytes stand between them, or there are too many.
    """
    at, escapes, in_scans = 2, 0, False
    for _ in range(_MAX_SEGMENTS):
        if in_scans:
            at, escapes = _end_of_scan(jpeg, at, escapes)
        found = _MARKER.match(jpeg, at)
        if not found:
            if jpeg[at : at + 1] not in (b"", b"\xff"):
                raise damaged("other bytes stand between its segments")
            return
        marker, at = found[1][0], found.end()
        if marker == _EOI or marker not in _WITHOUT_LENGTH:
            end = at if marker == _EOI else at + int.from_bytes(jpeg[at : at + 2], "big")
            yield Segment(marker, jpeg[at + 2 : end], end)
            at, in_scans = end, in_scans or marker == _SOS
        if marker == _EOI:
            return
    raise too_many_parts()


def _end_of_scan(jpeg: bytes, at: int, escapes: int) -> tuple[int, int]:
    """The position of the marker after a scan, or of the file's end; and `escapes` with those of this scan."""
    while at < len(jpeg):
        end = at + _WINDOW_BYTES
        escapes += jpeg.count(b"\xff", at, end)
        if escapes > _MAX_ESCAPES:
            raise too_many_parts()
        if found := _END_OF_SCAN.search(jpeg, at, end + 1):  # a marker may begin with the last byte of the window
            return found.start(), escapes
        at = end
    return len(jpeg), escapes


def _frame(segment: Segment, before: _Frame | None) -> _Frame:
    bits, height, width, components = struct.unpack_from(">BHHB", segment.data)
    if before:
        raise damaged("it has two frames")
    if segment.marker in _HIERARCHICAL:
        raise UnsupportedImage("this is a hierarchical JPEG; send an ordinary one")
    if bits != 8:
        raise UnsupportedImage(f"this is a JPEG with {bits} bits per sample; send one with 8")
    if not width or not height:
        raise damaged("it does not state the size of the image")
    return _Frame(segment.marker, width, height, components)


def _is_only_scan(scan: Segment, frame: _Frame | None, scans: int) -> bool:
    """Whether no further scan can follow this one, after a check of their number."""
    if not frame:
        raise damaged("a scan has no frame")
    if scans > _MAX_SCANS or scans * frame.width * frame.height > max(_MAX_SCANNED_PIXELS, frame.width * frame.height):
        raise ImageUnreadable(f"it takes too long to decode: it has {scans} scans or more")
    return frame.marker not in _PROGRESSIVE and scan.data[:1] == bytes([frame.components])


def has_all_scans(jpeg: bytes) -> bool:
    """Whether the scans that the file begins bring all coefficients of all components to full precision. A progressive
    JPEG that was cut may lack scans, and with them detail everywhere."""
    components, missing_bits = 0, dict[tuple[int, int], int]()
    for segment in segments(jpeg):
        if segment.marker in _FRAMES:
            components = _frame(segment, None).components
        elif segment.marker == _SOS:
            end = 1 + 2 * segment.data[0] if segment.data else 0
            if len(segment.data) < end + 3:
                return False  # the file ends inside its head
            first, last, bits = segment.data[end : end + 3]
            for component in segment.data[1:end:2]:
                missing_bits |= {(component, each): bits & 15 for each in range(first, min(last, 63) + 1)}
    return len(missing_bits) == components * 64 and not any(missing_bits.values())


def end_of_image(jpeg: bytes) -> int:
    """Where the image ends: the position of EOI, or of the file's end if there is none."""
    return next((segment.end - 2 for segment in segments(jpeg) if segment.marker == _EOI), len(jpeg))
