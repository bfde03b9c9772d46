"""Images that cost more than they weigh: to read their header, to decode, or to keep."""

from __future__ import annotations

import os
import struct
import zlib

from PIL import Image

from testing.pictures import encoded, png_chunk, png_file, scan_bomb, small_png


def large_photo() -> bytes:
    """A PNG of 19.9 MB of noise, which nothing can make smaller."""
    side = int((19_900_000 / 3) ** 0.5)
    return encoded(Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)), compress_level=0)


def costly_to_decode() -> bytes:
    """A progressive JPEG of 25 megapixels with many scans."""
    return scan_bomb(60)


def color_profiles() -> bytes:
    """A PNG with 600 color profiles of 1 kB, each of which unpacks to 1 MB."""
    profile = b"a\0\0" + zlib.compress(bytes(1_000_000))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return png_file(header, *[png_chunk(b"iCCP", profile)] * 600, rows=png_chunk(b"IDAT", zlib.compress(bytes(72))))


def frame_headers() -> bytes:
    """A JPEG with 490 start-of-frame segments of 255 components each."""
    segment = b"\xff\xc0" + struct.pack(">HBHHB", 8 + 3 * 255, 8, 64, 64, 255) + bytes([1, 0x11, 0]) * 255
    whole = encoded(Image.new("RGB", (64, 64)), "JPEG")
    return whole[:2] + segment * 490 + whole[2:]


def exif_entries() -> bytes:
    """A JPEG whose EXIF directory has 5,000 entries."""
    entries = b"".join(struct.pack("<HHII", 0x0112, 3, 1, 1) for _ in range(5_000))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5_000) + entries + bytes(4)
    whole = encoded(Image.new("RGB", (64, 64)), "JPEG")
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + whole[2:]


def tiny() -> bytes:
    """A PNG of 20 x 10 pixels."""
    return small_png()
