"""Scenes of real things: emoji with their names on textured or photographic backgrounds, overlapping, often in twos.

The data side of the recipe for a GPU. ``draw_collage`` always gives the same pixels for the same seed, font and
photographs. Masks are of what can be seen: a thing that lies on another takes its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from training.emoji import Emoji, Rgba
from training.painting import Pixels, paint_background
from training.plans import SIZES, Plan
from training.scenes import Mask

COUNT_SHARES = (0.22, 0.26, 0.22, 0.16, 0.09, 0.05)
"""How often a scene holds one thing, two, ... six."""
TWIN_SHARE = 0.35
"""How often another of the same name joins one that is there."""
SMALLEST, LARGEST = 0.12, 0.6
"""Longer side of a thing, as a share of the picture's geometric mean side."""
STEEPEST_DEGREES = 25.0
LEAST_SEEN = 0.6
"""Share of a thing that must be seen, whatever lies on it."""
PHOTO_SHARE = 0.6
_TRIES = 30
_INSIDE = 127

Visible = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Thing:
    """One thing of a collage: its name, and bool[H, W] of what can be seen of it."""

    name: str
    mask: Mask

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(y0, x0, y1, x1) in 0..1 of the picture, around what can be seen."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        height, width = self.mask.shape
        return rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width


@dataclass(frozen=True)
class Collage:
    """A picture, uint8[H, W, 3] RGB, and the things in it."""

    image: Pixels
    things: tuple[Thing, ...]

    def matching(self, name: str) -> list[Thing]:
        """The things of that name, in the order of answers: from the top down, then from the left."""
        return sorted((thing for thing in self.things if thing.name == name), key=lambda thing: thing.box[:2])


def draw_collage(seed: int, kinds: Sequence[Emoji], photographs: Sequence[Path] = ()) -> Collage:
    """Lay one to six things on a background; ``photographs`` are image files to take backgrounds from."""
    random = np.random.default_rng([seed, 3])
    width, height = SIZES[random.integers(len(SIZES))]
    image = _background(random, seed, width, height, photographs)
    names: list[str] = []
    masks: list[Visible] = []
    areas: list[int] = []
    for _ in range(int(random.choice(len(COUNT_SHARES), p=COUNT_SHARES)) + 1):
        kind = _choose(random, kinds, names)
        placed = _place(random, kind.picture, masks, areas, (height, width))
        if placed is not None:
            masks = _lay_on(image, placed, masks)
            areas.append(int(masks[-1].sum()))
            names.append(kind.name)
    return Collage(image, tuple(Thing(name, mask) for name, mask in zip(names, masks, strict=True)))


def ask(collage: Collage, kinds: Sequence[Emoji], random: np.random.Generator, absent_share: float = 0.2) -> str:
    """The name of something in the collage or, now and then, of something that is not."""
    here = [thing.name for thing in collage.things]
    if random.random() >= absent_share:
        return here[random.integers(len(here))]
    absent = [kind.name for kind in kinds if kind.name not in here]
    return absent[random.integers(len(absent))]


def _background(random: np.random.Generator, seed: int, width: int, height: int, photographs: Sequence[Path]) -> Pixels:
    """uint8[height, width, 3]: a piece of a photograph, or a texture as behind the shapes."""
    if photographs and random.random() < PHOTO_SHARE:
        return _photograph(random, photographs[int(random.integers(len(photographs)))], width, height)
    red, green, blue = random.integers(30, 226, size=3).tolist()
    texture = paint_background(Plan(seed, width, height, (), (red, green, blue)), width, height)
    return np.clip(texture, 0, 255).round().astype(np.uint8)


def _photograph(random: np.random.Generator, path: Path, width: int, height: int) -> Pixels:
    """A random piece of the picture's own proportions, at least half of it."""
    with Image.open(path) as photograph:
        whole = photograph.convert("RGB")
    scale = min(whole.width / width, whole.height / height) * random.uniform(0.5, 1)
    piece = (scale * width, scale * height)
    left, top = (random.uniform(0, side - part) for side, part in zip(whole.size, piece, strict=True))
    return np.array(whole.resize((width, height), box=(left, top, left + piece[0], top + piece[1])))


def _choose(random: np.random.Generator, kinds: Sequence[Emoji], names: list[str]) -> Emoji:
    if names and random.random() < TWIN_SHARE:
        twin = names[random.integers(len(names))]
        return next(kind for kind in kinds if kind.name == twin)
    return kinds[int(random.integers(len(kinds)))]


def _place(
    random: np.random.Generator, picture: Rgba, below: list[Visible], areas: list[int], size: tuple[int, int]
) -> Rgba | None:
    """uint8[height, width, 4] with the picture turned, scaled and moved; None if it would hide too much everywhere.

    ``areas`` are the pixels of each thing below before anything lay on it.
    """
    for _ in range(_TRIES):
        layer = _moved(random, picture, *size)
        inside = layer[..., 3] > _INSIDE
        left = [(mask & ~inside).sum() for mask in below]
        if inside.any() and all(now >= LEAST_SEEN * area for now, area in zip(left, areas, strict=True)):
            return layer
    return None


def _moved(random: np.random.Generator, picture: Rgba, height: int, width: int) -> Rgba:
    """The whole picture somewhere in the scene."""
    side = random.uniform(SMALLEST, LARGEST) * np.sqrt(height * width)
    rows, columns = picture.shape[:2]
    angle = random.uniform(-STEEPEST_DEGREES, STEEPEST_DEGREES)
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, side / max(rows, columns))
    corners = np.array([(0, 0, 1), (columns, 0, 1), (columns, rows, 1), (0, rows, 1)]) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = np.maximum((width, height) - (high - low), 0)
    turn[:, 2] += room * random.random(2) - low
    premultiplied = picture.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    return np.clip(cv2.warpAffine(premultiplied, turn, (width, height), flags=cv2.INTER_AREA), 0, 255).astype(np.uint8)


def _lay_on(image: Pixels, layer: Rgba, below: list[Visible]) -> list[Visible]:
    """Blend the layer into ``image``; returns what can be seen of each thing now, the new one last."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    image[:] = np.clip(image * (1 - alpha) + layer[..., :3], 0, 255).round().astype(np.uint8)
    inside = layer[..., 3] > _INSIDE
    return [*(mask & ~inside for mask in below), inside]
