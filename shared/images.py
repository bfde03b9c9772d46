"""Image bytes: which formats are read, what their header says, and the upright RGB picture in them."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ImageTooLarge, ImageUnreadable, UnsupportedImage

FORMATS = ("JPEG", "PNG", "WEBP")
"""Pillow knows 43 formats and some of them run other programs; these three are what cameras and browsers write."""

_EXIF_ORIENTATION = 0x0112
_ORIENTATIONS_ON_SIDE = frozenset({5, 6, 7, 8})
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of an image promise. `width` and `height` are those of the upright picture, in pixels."""

    format: str
    width: int
    height: int


def inspect_image(data: bytes, max_pixels: int) -> ImageHeader:
    """Check an image without decoding it: its format, its size, and that its end is there.

    Raises:
        UnsupportedImage: not one of `FORMATS`.
        ImageTooLarge: more than `max_pixels`.
        ImageUnreadable: the header is damaged or the file ends too early.
    """
    image = _open(data)
    if image.width * image.height > max_pixels:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels; at most {max_pixels:,} are allowed")
    if not _has_its_end(data, str(image.format)):
        raise ImageUnreadable("the file ends before the image does; was the upload cut short?")
    width, height = image.size
    if _orientation(image) in _ORIENTATIONS_ON_SIDE:
        width, height = height, width
    return ImageHeader(str(image.format), width, height)


def open_upright(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image to the 8-bit RGB picture a person sees: first frame, EXIF rotation applied, alpha on white.

    Raises:
        UnsupportedImage, ImageTooLarge, ImageUnreadable: as `inspect_image`, and on damage found while decoding.
    """
    inspect_image(data, max_pixels)
    image = _open(data)
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageUnreadable("the image data is damaged and cannot be decoded") from error


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the caller's own limit decides
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has far too many pixels") from error
    except UnidentifiedImageError as error:
        raise UnsupportedImage(f"send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageUnreadable("the image's header is damaged") from error


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
        # The base class's: that of PNG decodes the whole picture to find a chunk that may stand behind it.
        return int(Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError):
        return 1  # unreadable metadata does not make the picture unreadable; `exif_transpose` agrees


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 where it should scale.
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, _WHITE)
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")
