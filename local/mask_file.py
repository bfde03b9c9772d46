"""Masks in image files, as data sets have them: light on dark, 0 and 1, or one number for each class or object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

_BACKGROUND, _VOID = 0, 255
"""The numbers that are no object. Pascal VOC draws the border of objects, which it does not judge, as 255."""
_LIGHT = 128

Mask = npt.NDArray[np.bool_]


def read_masks(image: Image.Image) -> dict[int, Mask]:
    """The masks in an image, by the number of their pixels, in order. A mask that is light on dark has the number 255.

    A palette image with colours has numbers, and so does a grey image of which all pixels but those of 255 are darker
    than 128. A picture of an object without its background is opaque inside. Other images are light inside, and those
    of fractions at least 0.5.
    """
    if _is_cut_out(image):
        return {_VOID: np.asarray(image.convert("LA"))[..., 1] >= _LIGHT}
    numbers = _numbers(image)
    if numbers is None:
        return {_VOID: np.asarray(image.convert("LA")).min(-1) >= _LIGHT}
    objects = set(np.unique(numbers).tolist()) - {_BACKGROUND}
    if _VOID - 1 not in objects:  # objects are counted without gaps
        objects -= {_VOID}
    return {number: numbers == number for number in sorted(objects)}


def _is_cut_out(image: Image.Image) -> bool:
    """Whether a part of the image is transparent, and the rest is not black and white."""
    if image.mode not in ("RGBA", "LA", "PA"):
        return False
    grey, alpha = np.moveaxis(np.asarray(image.convert("LA")), -1, 0)
    opaque = grey[alpha >= _LIGHT]
    return 0 < opaque.size < alpha.size and not (np.isin(opaque, (0, 255)).all() and opaque.min() < opaque.max())


def _numbers(image: Image.Image) -> npt.NDArray[np.int64] | None:
    """int[H, W] if the pixels are numbers of objects."""
    if image.mode == "P" and _has_colours(image):
        return np.asarray(image).astype(np.int64)
    if image.mode in ("I", "I;16", "I;16B"):
        numbers = np.asarray(image).astype(np.int64)
        return numbers if numbers.max() != 65_535 or np.unique(numbers).size > 2 else (numbers > 0).astype(np.int64)
    if image.mode == "F" and np.asarray(image).max() <= 1:
        return (np.asarray(image) >= 0.5).astype(np.int64)
    grey = np.asarray(image.convert("LA"))
    numbers = np.where(grey[..., 1] >= _LIGHT, grey[..., 0], _BACKGROUND).astype(np.int64)
    dark = numbers[numbers != _VOID]
    return numbers if dark.size and 0 < dark.max() < _LIGHT else None


def _has_colours(image: Image.Image) -> bool:
    """Whether a pixel of a palette image has a colour that is not grey."""
    colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return bool((colours != colours[:, :1]).any())
