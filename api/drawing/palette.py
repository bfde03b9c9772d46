"""Colours for the objects of a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import ImageColor

BoxXyxy = tuple[int, int, int, int]

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe and Ito, Color Universal Design (2008), without black: seven colours that differ for the colour-blind too."""


def colors_of(boxes: Sequence[BoxXyxy], margin: int) -> list[str]:
    """A colour for each box. Boxes within `margin` pixels get different colours, as long as there are enough."""
    chosen: list[str] = []
    for index, box in enumerate(boxes):
        near = [color for other, color in zip(boxes[:index], chosen, strict=True) if _meet(box, other, margin)]
        chosen.append(min(PALETTE, key=lambda color: (near.count(color), chosen.count(color))))
    return chosen


def text_color_on(color: str) -> str:
    """`black` or `white`, whichever has more contrast on this colour."""
    luminance = relative_luminance(color)
    return "black" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "white"


def relative_luminance(color: str) -> float:
    """0 (black) .. 1 (white), as WCAG 2.2 defines it; contrast is (lighter + 0.05) / (darker + 0.05)."""
    linear = [_linear(channel / 255) for channel in ImageColor.getrgb(color)[:3]]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _meet(box: BoxXyxy, other: BoxXyxy, margin: int) -> bool:
    return all(box[axis] - margin < other[axis + 2] and other[axis] - margin < box[axis + 2] for axis in (0, 1))
