"""Opens image files with Pillow and libheif, and loads their pixels as they are stored."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pillow_heif
from PIL import AvifImagePlugin, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from shared.errors import ImageTooLarge, ImageUnreadable, MaskqError

_OPENERS: Mapping[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
    "HEIC": pillow_heif.HeifImageFile,
}
"""Called directly: `Image.open` would also look for further pictures in a JPEG and import modules while it decodes."""
_EXACT_PIXELS = 25_000_000
"""Images with more are always reduced, as they would take too much memory: a JPEG to a half, a quarter or an eighth
while it is decoded, others afterwards. Drawn scenes, scaled to 448 x 448, then differ by 0.07 of 255 in the mean from
those decoded exactly, and by 5 at most."""
_EXACT_JPEG_PIXELS = 2_000_000
"""A JPEG with more is reduced because that saves time: its decoder leaves out what a reduced picture does not show."""
_MARGIN = 2
"""A reduced image has at least this many pixels per pixel of the result, in each direction."""

DAMAGED = "the image data is damaged and cannot be decoded"

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one image has one thread, so its CPU time is bounded as that of others
pillow_heif.options.DECODE_THREADS = 0
pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False


def open_image(data: bytes, file_format: str, max_pixels: int) -> ImageFile.ImageFile:
    """Open a file of one of `shared.settings.several_processes.IMAGE_FORMATS`.

    Raises:
        ImageTooLarge: more than `max_pixels`.
        ImageUnreadable: the header is damaged.
    """
    with damage_as("the image's header is damaged"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        image = _OPENERS[file_format](io.BytesIO(data))
    if image.width * image.height > max_pixels:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels; at most {max_pixels:,} are allowed")
    return image


def load(image: ImageFile.ImageFile, size: tuple[int, int] | None, filler: int = 0, failure: str = DAMAGED) -> None:
    """Decode the pixels. A large JPEG of which a picture of `size` will be made is reduced; other formats cannot be.

    Pixels that the file lacks keep the value `filler` in formats whose decoders fill a picture row by row.

    Raises:
        ImageUnreadable: the data cannot be decoded. `failure` says why.
    """
    if size and reduction(image, size) > 1:
        side = max(size) * _MARGIN
        image.draft(None, (side, side))
    with damage_as(failure), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if filler:
            image.im = Image.new(image.mode, image.size, filler).im
        image.load()


def reduction(image: Image.Image, size: tuple[int, int] | None) -> int:
    """By how much width and height of an image may be divided before a picture of `size` is made of it: 1 means not."""
    exact_pixels = min(_EXACT_PIXELS, _EXACT_JPEG_PIXELS) if image.format == "JPEG" else _EXACT_PIXELS
    if not size or image.width * image.height <= exact_pixels:
        return 1
    return max(1, min(image.size) // (max(size) * _MARGIN))  # the larger of both sides, as the picture may be turned


def must_be_reduced(width: int, height: int) -> bool:
    """Whether an image has so many pixels that it is never decoded in full, if a smaller picture is made of it."""
    return width * height > _EXACT_PIXELS


@contextmanager
def damage_as(detail: str) -> Iterator[None]:
    """Raise ImageUnreadable with `detail` for any error of a decoder: Pillow also raises struct.error, KeyError, ..."""
    try:
        yield
    except (MemoryError, MaskqError):
        raise
    except Exception as error:
        raise ImageUnreadable(detail) from error
