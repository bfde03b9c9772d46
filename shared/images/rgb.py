"""Converts pixels of any kind to 8-bit RGB."""

from __future__ import annotations

from typing import cast

from PIL import Image

_WHITE = (255, 255, 255)
_STRIP_ROWS = 64
"""Rows of the result that are made at once when an image is reduced, so that it is never converted as a whole."""
_WHITES = {"I": (255, 65_535), "F": (1.0, 255.0, 65_535.0)}
"""What white may be in grey of 32 bits: the least of these that no pixel exceeds, or else the brightest pixel."""


def to_rgb(image: Image.Image, reduction: int = 1) -> Image.Image:
    """The image in RGB, alpha on white. Each square of `reduction` x `reduction` pixels becomes one, their mean."""
    white = _white(image)
    if reduction == 1:
        return _converted(image, white)
    width, height = (-(-side // reduction) for side in image.size)
    reduced = Image.new("RGB", (width, height))
    for row in range(0, height, _STRIP_ROWS):
        end = min((row + _STRIP_ROWS) * reduction, image.height)
        strip = _converted(image.crop((0, row * reduction, image.width, end)), white)
        reduced.paste(strip.reduce(reduction), (0, row))
    return reduced


def _converted(image: Image.Image, white: float) -> Image.Image:
    if white:
        # Pillow's own conversion clips at 255 instead of scaling.
        wide = image if image.mode == "F" else image.convert("I")
        image = wide.point(lambda value: value * (255 / white) + 0.5).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        background = Image.new("RGB", layer.size, _WHITE)
        background.paste(layer, mask=layer)
        return background
    return image if image.mode == "RGB" else image.convert("RGB")


def _white(image: Image.Image) -> float:
    """The value of white in grey of 16 or 32 bits. 0 for other kinds of pixels, whose channels have 8 bits."""
    if image.mode.startswith("I;16"):
        return 65_535
    if image.mode not in _WHITES:
        return 0
    brightest = max(cast(tuple[float, float], image.getextrema()))
    return next((white for white in _WHITES[image.mode] if brightest <= white), brightest)
