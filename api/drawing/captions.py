"""Places and draws captions: near their objects, inside the picture, and not on top of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from api.drawing.palette import BoxXyxy, text_color_on

_STEPS = 12
"""Rows and columns of the grid of places to try if no place beside the object is free."""
_CUT = "..."


@dataclass(frozen=True)
class Caption:
    """The text for an object."""

    text: str
    color: str
    box: BoxXyxy
    """Box of the object, in pixels of the picture."""


@dataclass(frozen=True)
class PlacedCaption:
    """A text and its plate (the filled rectangle behind it), in pixels of the picture."""

    text: str
    color: str
    plate: BoxXyxy


def place_captions(captions: Sequence[Caption], size: tuple[int, int], line: int) -> list[PlacedCaption]:
    """Find a place for each caption, in the given order. `line` is the width of lines in pixels.

    A text that is too long for the picture is cut. A caption that has no free place is left out.
    """
    font = caption_font(size)
    placed: list[PlacedCaption] = []
    for caption in captions:
        text = _fitted(caption.text, font, size[0] - 4 * line)
        width, height = _plate_size(text, font, line)
        taken = [each.plate for each in placed]
        for x, y in _places(caption.box, width, height, size, line):
            plate = (x, y, x + width, y + height)
            if text and _is_inside(plate, size) and not any(_overlap(plate, other) for other in taken):
                placed.append(PlacedCaption(text, caption.color, plate))
                break
    return placed


def draw_caption(picture: Image.Image, caption: PlacedCaption, line: int) -> None:
    """Draw a plate and the text on it."""
    draw = ImageDraw.Draw(picture)
    x0, y0, x1, y1 = caption.plate
    text_color = text_color_on(caption.color)
    edge = max(1, line // 2)
    draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius=2 * line, fill=caption.color, outline="white", width=edge)
    draw.text(
        ((x0 + x1) / 2, (y0 + y1) / 2), caption.text, font=caption_font(picture.size), fill=text_color, anchor="mm"
    )


def caption_font(size: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that is readable in a picture of this size."""
    return ImageFont.load_default(max(12, max(size) // 50))


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text as one line of at most `width` pixels; empty if not even one letter fits."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    kept = next((n for n in range(len(text), 0, -1) if font.getlength(text[:n] + _CUT) <= width), 0)
    return text[:kept].rstrip() + _CUT if kept else ""


def _plate_size(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, line: int) -> tuple[int, int]:
    _, top, _, bottom = font.getbbox("Ag|")
    return round(font.getlength(text)) + 4 * line, round(bottom - top) + 2 * line


def _places(box: BoxXyxy, width: int, height: int, size: tuple[int, int], line: int) -> Iterator[tuple[int, int]]:
    """Top left corners for a plate, best first: above the object, below, inside, beside, then any, nearest first."""
    x0, y0, x1, y1 = box
    gap = 2 * line
    rightmost, lowest = size[0] - width, size[1] - height
    x = min(max(0, x0), max(0, rightmost))
    yield x, y0 - height - gap
    yield x, y1 + gap
    yield x, y0 + gap
    yield x, y1 - height - gap
    yield x1 + gap, min(y0, lowest)
    yield x0 - width - gap, min(y0, lowest)
    grid = [(rightmost * i // _STEPS, lowest * j // _STEPS) for i in range(_STEPS + 1) for j in range(_STEPS + 1)]
    yield from sorted(grid, key=lambda place: abs(place[0] - x0) + abs(place[1] - y0))


def _is_inside(plate: BoxXyxy, size: tuple[int, int]) -> bool:
    return plate[0] >= 0 and plate[1] >= 0 and plate[2] <= size[0] and plate[3] <= size[1]


def _overlap(plate: BoxXyxy, other: BoxXyxy) -> bool:
    return plate[0] < other[2] and other[0] < plate[2] and plate[1] < other[3] and other[1] < plate[3]
