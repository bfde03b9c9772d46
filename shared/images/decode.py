"""Decodes an image file to an upright RGB picture. An image can make this slow, large or fatal: see `sandbox`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from shared.images.headers.header import ImageHeader
from shared.images.inspect import inspect_image
from shared.images.loading import DAMAGED, damage_as, load, must_be_reduced, open_image, reduction
from shared.images.rgb import to_rgb
from shared.images.short_files import ends_in_filler, load_short

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
_TURNED = (5, 6, 7, 8)
"""Orientations that swap width and height."""


@dataclass(frozen=True)
class Picture:
    """An image as a person sees it: first frame or page, EXIF rotation applied, alpha on white."""

    image: Image.Image
    """8-bit RGB. Smaller than the image if that was reduced while decoding."""
    width: int
    """Of the image, in pixels."""
    height: int
    """Of the image, in pixels."""
    notes: Sequence[str]
    """What the client should know about the file."""


def decode(data: bytes, max_pixels: int, size: tuple[int, int] | None = None, *, is_exact: bool = False) -> Picture:
    """Decode an image. A large one is reduced if it will be scaled to a `size` (width, height) that is much smaller;
    with `is_exact` only if it would take too much memory otherwise.

    Raises:
        UnsupportedImage, ImageTooLarge, ImageUnreadable: as `inspect_image`; the last also on damage found while
            decoding.
        MemoryError: decoding needs more memory than this process may use.
    """
    header = inspect_image(data, max_pixels)
    if is_exact and not must_be_reduced(header.width, header.height):
        size = None
    image, notes = _loaded(data, header, max_pixels, size)
    width, height = (header.width, header.height) if header.format == "JPEG" else image.size
    orientation = _orientation(image)
    with damage_as(DAMAGED):
        rgb = to_rgb(image, reduction(image, size))
    if orientation in _TRANSPOSITIONS:
        rgb = rgb.transpose(_TRANSPOSITIONS[orientation])
    return Picture(rgb, *((height, width) if orientation in _TURNED else (width, height)), notes)


def _loaded(
    data: bytes, header: ImageHeader, max_pixels: int, size: tuple[int, int] | None
) -> tuple[Image.Image, Sequence[str]]:
    """The image with its pixels, and notes. A JPEG may be reduced."""
    if header.is_complete:
        image = open_image(data, header.format, max_pixels)
        load(image, size)
        if header.format != "JPEG" or not ends_in_filler(image):
            return image, ()
    # The rows that it lacks are counted in full.
    reduced_size = size if must_be_reduced(header.width, header.height) else None
    short, missing = load_short(data, header, max_pixels, reduced_size)
    if header.is_complete and not missing:
        return short, ()
    lacking = f"{missing} of {header.height} rows of the image are missing" if missing else "no row of it is missing"
    return short, (f"the file ends before the image does: {lacking}",)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1  # unreadable metadata does not make the image unreadable
