"""What a scene holds before it is painted: shapes with their names, places and colours, in coordinates of 0..1."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from scenes.outlines import KINDS, Points, turned, unit_outlines
from shared.domain.paligemma import LOCATION_SCALE

Color: TypeAlias = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (215, 30, 35),
    "green": (30, 150, 50),
    "blue": (35, 70, 215),
    "yellow": (250, 225, 40),
    "purple": (130, 45, 165),
    "orange": (250, 135, 15),
    "white": (247, 247, 247),
    "black": (12, 12, 12),
}
COLOR_NAMES = tuple(COLORS)
COLOR_JITTER = 12

SIZES = ((640, 480), (480, 640), (512, 512), (600, 400), (400, 600), (640, 360))
COUNT_SHARES = (0.20, 0.28, 0.24, 0.16, 0.12)
LARGEST_BY_COUNT = (0.75, 0.62, 0.52, 0.44, 0.40)
SMALLEST = 0.14
GAP = 0.02
STEEPEST_DEGREES = 20.0
BACKGROUND_CONTRAST = 85.0
BACKGROUND_TINT = 60

LATTICE_STEP = 8


def lattice_location(edge: float) -> int:
    """Location token, 0..1023, of an edge in 0..1: the nearest of 0, 8, ... 1016, 1023 (under a pixel at 224)."""
    return min(round(edge * LOCATION_SCALE / LATTICE_STEP) * LATTICE_STEP, LOCATION_SCALE)


@dataclass(frozen=True)
class Shape:
    """One object of a plan. ``outlines`` are float32[N, 2] of (x, y) in 0..1 of the picture; a second is a hole."""

    kind: str
    color: str
    rgb: Color
    outlines: tuple[Points, ...]

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """(y0, x0, y1, x1) in 0..1 of the picture: the exact extent of the outline."""
        (x0, y0), (x1, y1) = self.outlines[0].min(axis=0), self.outlines[0].max(axis=0)
        return float(y0), float(x0), float(y1), float(x1)

    @property
    def locations(self) -> tuple[int, int, int, int]:
        """The box as location tokens, 0..1023, on the lattice that the demo model is taught."""
        y0, x0, y1, x1 = (lattice_location(edge) for edge in self.box)
        return y0, x0, y1, x1

    def answers_to(self, phrase: str) -> bool:
        """Whether ``phrase`` ("red circle", "circle" or "red") names this object."""
        return phrase in (f"{self.color} {self.kind}", self.kind, self.color)


@dataclass(frozen=True)
class Plan:
    """A scene to be painted; ``width`` and ``height`` are its own size in pixels."""

    seed: int
    width: int
    height: int
    shapes: tuple[Shape, ...]
    background: Color


def plan_scene(seed: int) -> Plan:
    """Choose size, objects, places and background of the scene of ``seed``."""
    random = np.random.default_rng(seed)
    width, height = SIZES[random.integers(len(SIZES))]
    count = int(random.choice(len(COUNT_SHARES), p=COUNT_SHARES)) + 1
    shapes: list[Shape] = []
    for _ in range(count):
        kind, color = _choose_name(random, shapes)
        shape = _place(random, kind, color, (width, height), LARGEST_BY_COUNT[count - 1], shapes)
        if shape is not None:
            shapes.append(shape)
    return Plan(seed, width, height, tuple(shapes), _choose_background(random, shapes))


def _choose_name(random: np.random.Generator, shapes: list[Shape]) -> tuple[str, str]:
    """A kind and a colour; every other time one or both are taken from an object already there, to make twins."""
    kind = KINDS[random.integers(len(KINDS))]
    color = COLOR_NAMES[random.integers(len(COLOR_NAMES))]
    if shapes and random.random() < 0.5:
        twin = shapes[random.integers(len(shapes))]
        shared = random.random()
        kind = twin.kind if shared < 0.6 else kind
        color = twin.color if shared > 0.4 else color
    return kind, color


def _place(
    random: np.random.Generator, kind: str, color: str, size: tuple[int, int], largest: float, others: list[Shape]
) -> Shape | None:
    """A shape of that name inside the picture and clear of ``others``; None when no free place was found."""
    jitter = random.integers(-COLOR_JITTER, COLOR_JITTER + 1, size=3)
    red, green, blue = np.clip(np.array(COLORS[color]) + jitter, 0, 255).tolist()
    for _ in range(40):
        outlines = _try_place(random, kind, size, random.uniform(SMALLEST, largest))
        if outlines is None:
            continue
        shape = Shape(kind, color, (red, green, blue), outlines)
        if not any(_touching(shape, other) for other in others):
            return shape
    return None


def _try_place(
    random: np.random.Generator, kind: str, size: tuple[int, int], share: float
) -> tuple[Points, ...] | None:
    """Outlines at a random place, the shape's diameter being ``share`` of the picture's geometric mean side."""
    picture = np.array(size, dtype=np.float32)
    radius = share / 2 * np.sqrt(picture.prod())
    degrees = random.uniform(-STEEPEST_DEGREES, STEEPEST_DEGREES)
    outlines = tuple(outline * (radius / picture) for outline in turned(unit_outlines(kind), degrees))
    low, high = outlines[0].min(axis=0), outlines[0].max(axis=0)
    room = 1 - 2 * GAP - (high - low)
    if (room < 0).any():
        return None
    corner = GAP + room * random.random(2)
    return tuple((outline - low + corner).astype(np.float32) for outline in outlines)


def _touching(one: Shape, other: Shape) -> bool:
    """Whether the boxes of two shapes come closer than the gap."""
    a, b = one.box, other.box
    return all(a[axis] < b[axis + 2] + GAP and b[axis] < a[axis + 2] + GAP for axis in (0, 1))


def _choose_background(random: np.random.Generator, shapes: list[Shape]) -> Color:
    """A colour that stands out from every shape: the first far enough of 40 random ones, or the farthest."""
    used = np.array([shape.rgb for shape in shapes], dtype=np.float32)
    greys = random.integers(40, 216, size=(40, 1))
    candidates = np.clip(greys + random.integers(-BACKGROUND_TINT, BACKGROUND_TINT + 1, size=(40, 3)), 0, 255)
    distances = np.linalg.norm(candidates[:, None] - used, axis=-1).min(axis=1)
    far = np.flatnonzero(distances > BACKGROUND_CONTRAST)
    chosen = candidates[far[0] if len(far) else distances.argmax()]
    red, green, blue = chosen.tolist()
    return red, green, blue
