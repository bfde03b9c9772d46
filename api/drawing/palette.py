"""Colours for the objects of a picture. The page follows the same rule: `api/pages/app/colours.js`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from math import dist

from PIL import ImageColor

BoxXyxy = tuple[int, int, int, int]
Rgb = tuple[float, float, float]
"""sRGB, 0..255."""
Lab = tuple[float, float, float]
"""Lightness, green to red, blue to yellow."""

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe and Ito, Color Universal Design (2008), without black: seven colours that differ for the colour-blind too."""

_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def colors_of(boxes: Sequence[BoxXyxy], means: Sequence[Rgb], margin: int) -> list[str]:
    """A colour for each box: the one that differs most from the mean colour under it and from those of other boxes.

    Once all colours are used, boxes within `margin` pixels still get different ones, as long as there are enough.
    """
    chosen: list[str] = []
    for index, box in enumerate(boxes):
        near = [color for other, color in zip(boxes[:index], chosen, strict=True) if _meet(box, other, margin)]
        mean = oklab(means[index])
        chosen.append(max(PALETTE, key=partial(_rank, mean, near, chosen)))
    return chosen


def _rank(mean: Lab, near: Sequence[str], chosen: Sequence[str], color: str) -> tuple[float, int, int, float]:
    own, from_mean = _lab_of(color), dist(_lab_of(color), mean)
    gap = min([from_mean, *(dist(own, _lab_of(other)) for other in chosen)])
    return gap, -near.count(color), -chosen.count(color), from_mean


def oklab(rgb: Rgb) -> Lab:
    """sRGB, 0..255, as OKLab (Björn Ottosson, 2020), in which distances are differences that people see."""
    linear = [_linear(channel / 255) for channel in rgb]
    cones = [_dot(weights, linear) ** (1 / 3) for weights in _TO_CONES]
    lightness, green_red, blue_yellow = (_dot(weights, cones) for weights in _TO_LAB)
    return lightness, green_red, blue_yellow


@cache
def _lab_of(color: str) -> Lab:
    return oklab(_rgb(color))


def _rgb(color: str) -> Rgb:
    red, green, blue = ImageColor.getrgb(color)[:3]
    return red, green, blue


def text_color_on(color: str) -> str:
    """`black` or `white`, whichever has more contrast on this colour."""
    luminance = relative_luminance(color)
    return "black" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "white"


def relative_luminance(color: str) -> float:
    """0 (black) .. 1 (white), as WCAG 2.2 defines it; contrast is (lighter + 0.05) / (darker + 0.05)."""
    return _dot((0.2126, 0.7152, 0.0722), [_linear(channel / 255) for channel in _rgb(color)])


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _meet(box: BoxXyxy, other: BoxXyxy, margin: int) -> bool:
    return all(box[axis] - margin < other[axis + 2] and other[axis] - margin < box[axis + 2] for axis in (0, 1))
