"""Image files: small ones, one of the size of a photo, and ones that are costly or hard to decode."""

from __future__ import annotations

import functools
import io
import os
import struct
import zlib
from collections.abc import Callable
from typing import cast

import numpy as np
import pillow_heif
from PIL import Image

PHOTO_BYTES = 100_000
pillow_heif.register_heif_opener()  # and encoder


def gradient(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A picture in which each corner has another color."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) * 255 // (width + height)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    if file_format == "HEIC" and "exif" in options:  # as a property of the file, which counts instead of EXIF
        image = image.copy()
        image.info["exif"] = cast(Image.Exif, options.pop("exif")).tobytes()
    image.save(file, "HEIF" if file_format == "HEIC" else file_format, **options)
    return file.getvalue()


@functools.cache
def small_png() -> bytes:
    """A PNG of 20 x 10 pixels."""
    return encoded(Image.new("RGB", (20, 10)))


def photo_sized_png() -> bytes:
    """A PNG of about `PHOTO_BYTES`: noise, which does not compress, and new noise in each call."""
    side = int((PHOTO_BYTES / 3) ** 0.5)
    return encoded(Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)))


def exif_with_orientation(orientation: int) -> Image.Exif:
    """Metadata that state how a viewer must rotate or flip a picture: 1..8."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def costly_images() -> dict[str, Callable[[], bytes]]:
    """Images of 25 megapixels in kilobytes, by the kind that makes them costly to decode."""
    size = (5000, 5000)
    grey16 = functools.partial(encoded, Image.new("I;16", size))
    return {
        "16-bit grey": grey16,
        "rgba": lambda: encoded(Image.new("RGBA", size, (1, 2, 3, 4))),
        "grey and alpha": lambda: encoded(Image.new("LA", size)),
        "palette with transparency": lambda: encoded(Image.new("P", size), transparency=0),
        "turned": lambda: encoded(Image.new("RGBA", size), exif=exif_with_orientation(5)),
        "rgba, 16 bit, interlaced": lambda: flat_png(*size, depth=16, color_type=6, interlaced=True),
        "progressive": lambda: encoded(
            Image.new("RGB", size), "JPEG", progressive=True, subsampling=0, exif=exif_with_orientation(6)
        ),
        "progressive cmyk": lambda: encoded(Image.new("CMYK", size), "JPEG", progressive=True),
        "webp": lambda: encoded(Image.new("RGB", size), "WEBP", method=0),
        "webp with alpha": lambda: encoded(Image.new("RGBA", size, (1, 2, 3, 4)), "WEBP", lossless=True, method=0),
        "animated": lambda: encoded(
            Image.new("RGBA", size),
            "WEBP",
            lossless=True,
            method=0,
            save_all=True,
            append_images=[Image.new("L", size)],
        ),
    }


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG of 25 megapixels that repeats its last scan. A scan has few bytes, but a decoder visits every
    block for it."""
    whole = encoded(Image.new("RGB", (5000, 5000)), "JPEG", progressive=True, subsampling=0)
    end = whole.rfind(b"\xff\xd9")
    tables = whole.rfind(b"\xff\xc4")
    return whole[:end] + whole[tables:end] * scans + whole[end:]


def png_chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_file(header: bytes, *chunks: bytes, rows: bytes = b"") -> bytes:
    """A PNG file from its IHDR, chunks before the data, and the packed data."""
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + rows + png_chunk(b"IEND", b"")


def flat_png(width: int, height: int, *, depth: int, color_type: int, interlaced: bool = False) -> bytes:
    """A PNG whose pixels are all zero, of the kinds that Pillow does not write."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color_type]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    packer = zlib.compressobj()
    packed = []
    for x0, y0, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        row = bytes(1 + -(-(width - x0) // dx) * channels * depth // 8)
        packed += [packer.compress(row) for _ in range(-(-(height - y0) // dy))]
    data = png_chunk(b"IDAT", b"".join(packed) + packer.flush())
    return png_file(struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced), rows=data)
