"""Image bytes: which formats are read, what their header says, and the upright RGB picture in them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from shared.errors import ImageTooLarge, ImageUnreadable, MaskqError, UnsupportedImage

FORMATS = ("JPEG", "PNG", "WEBP")
"""Pillow knows 43 formats and some of them run other programs; these three are what cameras and browsers write."""

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright that is stored with this EXIF orientation; Pillow turns counter-clockwise."""
_MAX_HEADER_READS = 2_000
"""An image file of 20 MB that is all metadata takes 1,300, in segments of 64 kB."""
_EXIF_HEAD = b"Exif\0\0"
_MAX_EXIF_PARTS = 16
"""Of a JPEG, 64 kB each. The standard allows one; Pillow copies all of them once more for each."""
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of an image promise. `width` and `height` are in pixels, as stored: EXIF may turn them."""

    format: str
    width: int
    height: int


def inspect_image(data: bytes, max_pixels: int) -> ImageHeader:
    """Check an image without decoding it: its format, its size, and that its end is there.

    Raises:
        UnsupportedImage: not one of `FORMATS`.
        ImageTooLarge: more than `max_pixels`.
        ImageUnreadable: the header is damaged or endless, or the file ends too early.
    """
    image = _checked(_HeaderFile(data), data, max_pixels)
    return ImageHeader(_format(image), image.width, image.height)


def open_upright(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image to the 8-bit RGB picture a person sees: first frame, EXIF rotation applied, alpha on white.

    Costs whatever the image wants it to; `shared.images.sandbox` does it in a process that may be lost.

    Raises:
        UnsupportedImage, ImageTooLarge, ImageUnreadable: as `inspect_image`, and on damage found while decoding.
        MemoryError: this process may not have as much as it takes.
    """
    image = _checked(io.BytesIO(data), data, max_pixels)
    with _damage_explained("the image data is damaged and cannot be decoded"):
        image.load()
        turn = _TURNS.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if turn is None else rgb.transpose(turn)


class _HeaderFile(io.BytesIO):
    """Ends long headers. Pillow reads them in Python, part by part, and copies some parts again with each new one."""

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
    if not _has_its_end(data, _format(image)):
        raise ImageUnreadable("the file ends before the image does; was the upload cut short?")
    return image


def _open(file: io.BytesIO) -> Image.Image:
    try:
        with warnings.catch_warnings(), _damage_explained("the image's header is damaged"):
            warnings.simplefilter("ignore")  # of bombs, for which the caller has a limit, and of odd metadata
            return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has far too many pixels") from error
    except UnidentifiedImageError as error:
        raise UnsupportedImage(f"send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from error


def _format(image: Image.Image) -> str:
    """One of `FORMATS`. Pillow calls a JPEG MPO if more pictures follow it, as phones write them."""
    return "JPEG" if image.format == "MPO" else str(image.format)


@contextmanager
def _damage_explained(detail: str) -> Iterator[None]:
    """Say `detail` of whatever a decoder stumbles over: struct.error, KeyError and others come through Pillow too."""
    try:
        yield
    except (MemoryError, MaskqError, UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except Exception as error:
        raise ImageUnreadable(detail) from error


def _has_its_end(data: bytes, image_format: str) -> bool:
    """Whether the file reaches the end its format promises. Bytes behind the end are allowed, as decoders do."""
    if image_format == "JPEG":
        # 0xFF is stuffed inside scans, so the last start-of-scan and end-of-image found are real markers; an
        # embedded thumbnail has both, but lies before the picture's own scan.
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if image_format == "PNG":
        return data.rfind(b"IEND") > data.rfind(b"IDAT")
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1  # unreadable metadata does not make the picture unreadable


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 where it should scale.
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGB", layer.size, _WHITE)
        paper.paste(layer, mask=layer)
        return paper
    return image if image.mode == "RGB" else image.convert("RGB")
