"""Pictures of real things with their names: the emoji of Noto Color Emoji (Debian: fonts-noto-color-emoji).

What the recipe for a GPU learns from, on top of shapes. Names are Unicode's, in lower case: "cat", "red apple".
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

NOTO = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_BITMAP_SIZE = 109
"""The only size that the font holds."""
_CANVAS_PX = 160
_PICTURES = (range(0x1F300, 0x1F650), range(0x1F680, 0x1F700), range(0x1F900, 0x1FB00))
"""Blocks of pictographs: symbols, faces, transport, and the two supplements."""
_MOST_WORDS = 3
_SMALLEST_COVER = 0.2
_LEFT_OUT = frozenset({"modifier", "component", "symbol", "button", "sign", "selector", "input", "clock"})
"""Names with these words are of signs, not of things."""

Rgba = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Emoji:
    """A kind of thing that can be drawn."""

    name: str
    picture: Rgba
    """uint8[H, W, 4], cropped to what is not transparent."""


@cache
def emoji_kinds(font: Path = NOTO) -> tuple[Emoji, ...]:
    """Every single-character emoji of the font that shows a thing with a short name, in the order of Unicode.

    Raises:
        OSError: there is no such font.
    """
    face = ImageFont.truetype(str(font), _BITMAP_SIZE)
    kinds = []
    for code in (code for block in _PICTURES for code in block):
        name = unicodedata.name(chr(code), "").lower()
        if name and len(name.split()) <= _MOST_WORDS and _LEFT_OUT.isdisjoint(name.split()):
            picture = _draw(chr(code), face)
            if picture is not None:
                kinds.append(Emoji(name, picture))
    return tuple(kinds)


def _draw(character: str, face: ImageFont.FreeTypeFont) -> Rgba | None:
    """The glyph, or None if the font has no coloured one that fills its box at least a little."""
    canvas = Image.new("RGBA", (_CANVAS_PX, _CANVAS_PX))
    ImageDraw.Draw(canvas).text((8, 8), character, font=face, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        return None
    picture = np.array(canvas.crop(box))
    is_colored = (picture[..., :3] != picture[..., :1]).any()
    covered = (picture[..., 3] > 127).mean()
    return picture if is_colored and covered >= _SMALLEST_COVER else None
