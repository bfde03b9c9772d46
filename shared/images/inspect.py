"""Checks an image by its header: the format, the size, and whether the file is long enough. Decodes nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from functools import partial

from shared.errors import ImageTooLarge, ImageUnreadable, UnsupportedImage
from shared.images.formats import identify
from shared.images.headers.bmp import read_bmp
from shared.images.headers.gif import read_gif
from shared.images.headers.header import ImageHeader
from shared.images.headers.heif import read_heif
from shared.images.headers.jpeg import read_jpeg
from shared.images.headers.png import read_png
from shared.images.headers.tiff import read_tiff
from shared.images.headers.webp import read_webp
from shared.settings.several_processes import IMAGE_FORMATS

_READERS: Mapping[str, Callable[[bytes], ImageHeader]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "WEBP": read_webp,
    "GIF": read_gif,
    "BMP": read_bmp,
    "TIFF": read_tiff,
    "AVIF": partial(read_heif, file_format="AVIF"),
    "HEIC": partial(read_heif, file_format="HEIC"),
}
_MEMORY = {"WEBP": 2.0, "AVIF": 1.6, "HEIC": 1.25}
"""Memory that decoding takes for each pixel, relative to other formats, which take up to 8 bytes. Phones write HEIC of
50 megapixels; the other two are formats of the web."""


def inspect_image(data: bytes, max_pixels: int, formats: Collection[str] = IMAGE_FORMATS) -> ImageHeader:
    """Check an image without decoding it.

    Raises:
        UnsupportedImage: not one of `formats`.
        ImageTooLarge: more than `max_pixels`.
        ImageUnreadable: the header is damaged or has too many parts, or the file ends inside it.
    """
    name = identify(data)
    if name not in formats:
        foreign = f"{name}, which this deployment does not accept" if name in IMAGE_FORMATS else name
        raise UnsupportedImage(f"this is {foreign}; send {_listed(formats)}")
    try:
        header = _READERS[name](data)
    except (struct.error, OverflowError) as error:  # a place outside the file, or beyond 64 bits
        raise ImageUnreadable("the file ends inside the image's header") from error
    most = int(max_pixels / _MEMORY.get(name, 1))
    if header.width * header.height > most:
        raise ImageTooLarge(f"{header.width} x {header.height} pixels; in {name} at most {most:,} are allowed")
    return header


def _listed(formats: Collection[str]) -> str:
    *others, last = (name.replace("WEBP", "WebP") for name in IMAGE_FORMATS if name in formats)
    return f"{', '.join(others)} or {last}" if others else last
