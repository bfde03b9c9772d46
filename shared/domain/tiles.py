"""Tiles: overlapping parts of a picture, each of which the model sees as a square of its own.

The model scales every picture to a square. In a wide picture all things become thin, and in a large one small things
vanish. The whole picture is always seen too, so that a thing larger than a tile is found in one piece.
"""

from __future__ import annotations

import math

BoxXyxy = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 are exclusive."""

AUTO = "auto"
"""Tiles in a row for a wide or tall picture, and none for others."""
NONE = "1"
MAX_TILES = 16
"""Most tiles of a picture. With the whole picture they are 17 inputs of the model, about one batch (MASKQ_MAX_BATCH):
one job delays others by no more than that."""
OVERLAP = 0.25
"""Share of a tile's side that the next tile also sees. A thing of at most this size is whole in one of them."""
_AUTO_ASPECT = 2.0
"""The ratio of sides up to which `auto` does not cut a picture, and up to which it makes tiles: about the widest
pictures that models are trained on."""
CHOICES = (
    AUTO,
    NONE,
    *(
        f"{columns}x{rows}"
        for columns in range(1, MAX_TILES + 1)
        for rows in range(1, MAX_TILES // columns + 1)
        if columns * rows > 1
    ),
)
"""Everything that a request may name, tiles as COLUMNSxROWS."""


def read_tiles(text: str) -> str:
    """One of `CHOICES`.

    Raises:
        ValueError: it is none of them. The message says what is allowed.
    """
    text = text.strip().lower()
    if text == "1x1":
        return NONE
    if text not in CHOICES:
        raise ValueError(f"must be auto, 1, or COLUMNSxROWS such as 3x1 or 2x2, with at most {MAX_TILES} tiles")
    return text


def choose_tiles(tiles: str, width: int, height: int) -> str:
    """The tiles for a picture of this size in pixels: `auto` becomes `1` or `COLUMNSxROWS`."""
    if tiles != AUTO:
        return tiles
    aspect = max(width, height) / min(width, height)
    if aspect <= _AUTO_ASPECT:
        return NONE
    count = min(math.ceil((aspect / _AUTO_ASPECT - OVERLAP) / (1 - OVERLAP)), MAX_TILES)
    return f"{count}x1" if width > height else f"1x{count}"


def picture_views(tiles: str, width: int, height: int) -> list[BoxXyxy]:
    """What the model sees of a picture: the whole of it, then its tiles, row by row. Tiles cover the picture, and
    neighbours overlap."""
    whole, chosen = (0, 0, width, height), choose_tiles(tiles, width, height)
    if chosen == NONE:
        return [whole]
    columns, rows = map(int, chosen.split("x"))
    across, down = _spans(columns, width), _spans(rows, height)
    return [whole, *[(x0, y0, x1, y1) for y0, y1 in down for x0, x1 in across]]


def _spans(count: int, side: int) -> list[tuple[int, int]]:
    """`count` spans of equal length, at least a pixel, that cover `side` pixels."""
    length = side / (count - (count - 1) * OVERLAP)
    starts = [number * length * (1 - OVERLAP) for number in range(count)]
    return [(min(int(start), side - 1), min(max(round(start + length), int(start) + 1), side)) for start in starts]
