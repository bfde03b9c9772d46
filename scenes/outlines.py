"""The eight kinds of shape as polygons around the origin, within radius 1. The y axis points down."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.float32]


def _polar(radii: float | npt.NDArray[np.float64], degrees: npt.NDArray[np.float64]) -> Points:
    """float32[N, 2] of (x, y) from radii and angles. 0 degrees points up; angles grow clockwise."""
    angles = np.radians(degrees)
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=-1).astype(np.float32)


def _circle(radius: float) -> Points:
    return _polar(radius, np.arange(0.0, 360.0, 5.0))


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return (np.stack([x, y - 2.5], axis=-1) / 17).astype(np.float32)


def _cross() -> Points:
    arm, end = 0.32, 0.94
    quarter = np.array([(arm, -end), (arm, -arm), (end, -arm)])
    turns = [quarter @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate(turns).astype(np.float32)


_OUTLINES: dict[str, Callable[[], tuple[Points, ...]]] = {
    "circle": lambda: (_circle(1.0),),
    "square": lambda: (_polar(1.0, np.array([45.0, 135.0, 225.0, 315.0])),),
    "triangle": lambda: (_polar(1.0, np.array([0.0, 120.0, 240.0])),),
    "star": lambda: (_polar(np.array([1.0, 0.42] * 5), np.arange(0.0, 360.0, 36.0)),),
    "heart": lambda: (_heart(),),
    "cross": lambda: (_cross(),),
    "ring": lambda: (_circle(1.0), _circle(0.55)),
    "diamond": lambda: (_polar(np.array([1.0, 0.64, 1.0, 0.64]), np.array([0.0, 90.0, 180.0, 270.0])),),
}
KINDS = tuple(_OUTLINES)
_CACHE = {kind: make() for kind, make in _OUTLINES.items()}


def unit_outlines(kind: str) -> tuple[Points, ...]:
    """Return the closed outlines of ``kind``, float32[N, 2] each. A second outline is a hole in the first."""
    return _CACHE[kind]


UNIT_FRAME: Points = np.array([(-1, -1), (1, -1), (-1, 1)], dtype=np.float32)
"""Three corners around a shape: top left, top right, bottom left."""


def extent(outlines: Sequence[Points]) -> tuple[Points, Points]:
    """The smallest and the largest (x, y) of all outlines, float32[2] each."""
    points = np.concatenate(outlines)
    return points.min(axis=0), points.max(axis=0)


def rotate(outlines: tuple[Points, ...], degrees: float) -> tuple[Points, ...]:
    """Return the outlines, rotated clockwise about the origin."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=np.float32)
    return tuple(outline @ rotation for outline in outlines)
