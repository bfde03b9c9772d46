"""Image bytes: the accepted formats, checks of their headers, and decoding to an upright RGB image."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from shared.errors import ImageTooLarge, ImageUnreadable, MaskqError, UnsupportedImage

FORMATS = ("JPEG", "PNG", "WEBP")
"""Pillow reads 43 formats, and some of them run other programs. These three are what cameras and browsers write."""

_EXIF_ORIENTATION = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Per EXIF orientation, the transposition that makes the image upright. Pillow rotates counter-clockwise."""
_MAX_HEADER_READS = 2_000
"""Read calls per header. A file of 20 MB that is all metadata takes 1,300, in segments of 64 kB."""
_EXIF_HEAD = b"Exif\0\0"
_MAX_EXIF_PARTS = 16
"""EXIF segments of a JPEG, 64 kB each. The standard allows one; Pillow copies all of them again for each."""
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image. `width` and `height` are in pixels as stored, before EXIF rotation."""

    format: str
    width: int
    height: int


def inspect_image(data: bytes, max_pixels: int) -> ImageHeader:
    """Check an image without decoding it: its format, its size, and that the file is complete.

    Raises:
        UnsupportedImage: not one of `FORMATS`.
        ImageTooLarge: more than `max_pixels`.
        ImageUnreadable: the header is damaged or has too many parts, or the file ends too early.
    """
    image = _checked(_HeaderFile(data), data, max_pixels)
    return ImageHeader(_format(image), image.width, image.height)


def open_upright(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image to 8-bit RGB as a person sees it: first frame, EXIF rotation applied, alpha on white.

    An image can make this slow, large or fatal, so `shared.images.sandbox` calls it in child processes.

    Raises:
        UnsupportedImage, ImageTooLarge, ImageUnreadable: as `inspect_image`; the last also on damage found while
            decoding.
        MemoryError: decoding needs more memory than this process may use.
    """
    image = _checked(io.BytesIO(data), data, max_pixels)
    with _damage_as("the image data is damaged and cannot be decoded"):
        image.load()
        transposition = _TRANSPOSITIONS.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if transposition is None else rgb.transpose(transposition)


class _HeaderFile(io.BytesIO):
    """Refuses long headers. Pillow reads them in Python, part by part, and copies some parts again for each new one."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = _MAX_HEADER_READS
        self._exif_parts_left = _MAX_EXIF_PARTS

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        self._reads_left -= 1
        self._exif_parts_left -= part.startswith(_EXIF_HEAD)
        if self._reads_left < 0 or self._exif_parts_left < 0:
            raise ImageUnreadable("the image's header has too many parts")
        return part


def _checked(file: io.BytesIO, data: bytes, max_pixels: int) -> Image.Image:
    image = _open(file)
    if image.width * image.height > max_pixels:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels; at most {max_pixels:,} are allowed")
    if not _is_complete(data, _format(image)):
        raise ImageUnreadable("the file ends before the image does; was the upload cut short?")
    return image


def _open(file: io.BytesIO) -> Image.Image:
    try:
        with warnings.catch_warnings(), _damage_as("the image's header is damaged"):
            warnings.simplefilter("ignore")  # of decompression bombs, for which we have a limit, and of odd metadata
            return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has far too many pixels") from error
    except UnidentifiedImageError as error:
        raise UnsupportedImage(f"send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from error


def _format(image: Image.Image) -> str:
    """One of `FORMATS`. Pillow calls a JPEG `MPO` if further images follow it, as in files of phones."""
    return "JPEG" if image.format == "MPO" else str(image.format)


@contextmanager
def _damage_as(detail: str) -> Iterator[None]:
    """Raise ImageUnreadable with `detail` for any error of a decoder: Pillow also raises struct.error, KeyError, ..."""
    try:
        yield
    except (MemoryError, MaskqError, UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except Exception as error:
        raise ImageUnreadable(detail) from error


def _is_complete(data: bytes, image_format: str) -> bool:
    """Whether the file reaches the end of the image. Bytes after the end are allowed, as decoders allow them."""
    if image_format == "JPEG":
        # 0xFF is stuffed inside scans, so the last start-of-scan and end-of-image found are real markers; an
        # embedded thumbnail has both, but before the scan of the image itself.
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if image_format == "PNG":
        return data.rfind(b"IEND") > data.rfind(b"IDAT")
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1  # unreadable metadata does not make the image unreadable


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        background = Image.new("RGB", layer.size, _WHITE)
        background.paste(layer, mask=layer)
        return background
    return image if image.mode == "RGB" else image.convert("RGB")
