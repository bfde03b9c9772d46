"""The layout of a scene before painting: objects with names, positions and colours, in coordinates of 0..1."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scenes.emoji import emoji
from scenes.outlines import UNIT_FRAME, Points, extent, rotate, unit_outlines
from scenes.vocabulary import COLORS, EMOJI, NO_COLOR, SHAPES, Color, Vocabulary, names_of
from shared.domain.paligemma import LOCATION_SCALE

COLOR_JITTER = 12
"""Largest random change of each colour channel of a shape, in levels of 0..255."""

SIZES = ((640, 480), (480, 640), (512, 512), (600, 400), (400, 600), (640, 360))
"""(width, height) in pixels; each is equally likely."""
WIDE_SIZES = ((1600, 400), (400, 1600))
COUNT_PROBABILITIES = (0.20, 0.28, 0.24, 0.16, 0.12)
"""Probability that a scene has 1, 2, ... objects."""
MAX_OBJECTS = len(COUNT_PROBABILITIES)
MAX_SIZE_BY_COUNT = (0.75, 0.62, 0.52, 0.44, 0.40)
"""Largest diameter of a shape in a scene of 1, 2, ... objects, as a share of the image's geometric mean side."""
MIN_SIZE = 0.14
"""Smallest diameter of a shape, as the same share."""
GAP = 0.02
"""Smallest distance between boxes, and from a box to the image border, in 0..1 of the image."""
MAX_ROTATION_DEGREES = 20.0
BACKGROUND_CONTRAST = 85.0
"""Wanted RGB distance between the background and every shape, in levels of 0..255."""
BACKGROUND_TINT = 60
"""Largest deviation of each background channel from grey, in levels of 0..255."""
PLACEMENT_ATTEMPTS = 40

LATTICE_STEP = 8


@dataclass(frozen=True)
class SceneForm:
    """What distinguishes one set of scenes from another: its objects, and the sizes of images and of objects."""

    vocabulary: Vocabulary = SHAPES
    sizes: tuple[tuple[int, int], ...] = SIZES
    """(width, height) in pixels; each is equally likely."""
    min_size: float = MIN_SIZE
    max_size_by_count: tuple[float, ...] = MAX_SIZE_BY_COUNT


ORDINARY = SceneForm()
"""The scenes that the demo model learns."""
FORMS = {
    "ordinary": ORDINARY,
    "wide": SceneForm(sizes=WIDE_SIZES),
    "small": SceneForm(sizes=((2400, 1800), (1800, 2400)), min_size=0.03, max_size_by_count=(0.10,) * MAX_OBJECTS),
    "mixed": SceneForm(sizes=(*SIZES, *WIDE_SIZES), min_size=0.05),
    "emoji": SceneForm(EMOJI, min_size=0.2),
    "emoji-mixed": SceneForm(EMOJI, sizes=(*SIZES, *WIDE_SIZES), min_size=0.08),
}
"""`wide`: 4:1 and 1:4. `small`: large images whose objects measure 3% to 10% of the mean side. `mixed`:
ordinary and wide images with smaller objects than the demo model learns, easy and hard ones, to calibrate scores.
`emoji`: the scenes that the emoji model learns; `emoji-mixed` for its scores."""


def lattice_location(edge: float) -> int:
    """Location token, 0..1023, of an edge in 0..1: the nearest of 0, 8, ... 1016, 1023 (under a pixel at 224)."""
    return min(round(edge * LOCATION_SCALE / LATTICE_STEP) * LATTICE_STEP, LOCATION_SCALE)


@dataclass(frozen=True)
class Shape:
    """One object of a layout."""

    kind: str
    color: str
    """NO_COLOR if its kind alone names it."""
    rgb: Color
    outlines: tuple[Points, ...]
    """Closed, float32[N, 2] of (x, y) in 0..1 of the image. An outline inside another is a hole."""
    frame: Points
    """float32[3, 2]: the top left, top right and bottom left corners of its picture, in 0..1 of the image."""

    @property
    def is_emoji(self) -> bool:
        """Whether the object is painted with the picture of an emoji; otherwise it is filled with ``rgb``."""
        return self.color == NO_COLOR

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """(y0, x0, y1, x1) in 0..1 of the image: the exact extent of the outline."""
        (x0, y0), (x1, y1) = extent(self.outlines)
        return float(y0), float(x0), float(y1), float(x1)

    @property
    def locations(self) -> tuple[int, int, int, int]:
        """The box as location tokens, 0..1023, on the lattice that the models learn."""
        y0, x0, y1, x1 = (lattice_location(edge) for edge in self.box)
        return y0, x0, y1, x1

    def is_named(self, phrase: str) -> bool:
        """Whether ``phrase`` ("red circle", "circle", "red" or "cat") names this object."""
        return phrase in names_of(self.color, self.kind)


@dataclass(frozen=True)
class Layout:
    """A scene before painting. ``width`` and ``height`` are its own size in pixels."""

    seed: int
    width: int
    height: int
    shapes: tuple[Shape, ...]
    background: Color


def choose_layout(seed: int, form: SceneForm = ORDINARY) -> Layout:
    """Choose size, objects, positions and background of the scene with this ``seed``."""
    random = np.random.default_rng(seed)
    width, height = form.sizes[random.integers(len(form.sizes))]
    count = int(random.choice(MAX_OBJECTS, p=COUNT_PROBABILITIES)) + 1
    shapes: list[Shape] = []
    for _ in range(count):
        kind, color = _choose_name(random, form.vocabulary, shapes)
        shares = form.min_size, form.max_size_by_count[count - 1]
        shape = _place(random, kind, color, (width, height), shares, shapes)
        if shape is not None:
            shapes.append(shape)
    return Layout(seed, width, height, tuple(shapes), _choose_background(random, shapes))


def _choose_name(random: np.random.Generator, vocabulary: Vocabulary, shapes: list[Shape]) -> tuple[str, str]:
    """Choose a kind and a colour. Half of the time, one or both are copied from an earlier object, to make twins."""
    kind = vocabulary.kinds[random.integers(len(vocabulary.kinds))]
    color = vocabulary.colors[random.integers(len(vocabulary.colors))] if vocabulary.has_colors else NO_COLOR
    if shapes and random.random() < 0.5:
        twin = shapes[random.integers(len(shapes))]
        shared = random.random()
        kind = twin.kind if shared < 0.6 else kind
        color = twin.color if shared > 0.4 else color
    return kind, color


def _place(
    random: np.random.Generator,
    kind: str,
    color: str,
    size: tuple[int, int],
    shares: tuple[float, float],
    others: list[Shape],
) -> Shape | None:
    """Place a shape of that name inside the image, apart from ``others``. Return None if no free place was found.
    ``shares`` are its smallest and largest diameter."""
    rgb, unit = _choose_rgb(random, kind, color), _choose_unit(random, kind, color)
    for _ in range(PLACEMENT_ATTEMPTS):
        placed = _try_place(random, unit, size, random.uniform(*shares))
        if placed is None:
            continue
        shape = Shape(kind, color, rgb, tuple(placed[:-1]), placed[-1])
        if not any(_too_close(shape, other) for other in others):
            return shape
    return None


def _choose_rgb(random: np.random.Generator, kind: str, color: str) -> Color:
    """A shade of the named colour, or the mean colour of the emoji."""
    if color == NO_COLOR:
        return emoji(kind).mean_rgb
    jitter = random.integers(-COLOR_JITTER, COLOR_JITTER + 1, size=3)
    red, green, blue = np.clip(np.array(COLORS[color]) + jitter, 0, 255).tolist()
    return red, green, blue


def _try_place(
    random: np.random.Generator, unit: tuple[Points, ...], size: tuple[int, int], share: float
) -> list[Points] | None:
    """The points of ``unit``, which are around the origin, at a random position; the last are a frame, which may leave
    the image. The diameter is ``share`` of the image's geometric mean side. None if too big."""
    sides = np.array(size, dtype=np.float32)
    radius = share / 2 * np.sqrt(sides.prod())
    degrees = random.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES)
    scaled = [points * (radius / sides) for points in rotate(unit, degrees)]
    low, high = extent(scaled[:-1])
    room = 1 - 2 * GAP - (high - low)
    if (room < 0).any():
        return None
    corner = GAP + room * random.random(2)
    return [(points - low + corner).astype(np.float32) for points in scaled]


def _choose_unit(random: np.random.Generator, kind: str, color: str) -> tuple[Points, ...]:
    """The outlines of an object around the origin, then its frame. An emoji is mirrored half of the time."""
    if color != NO_COLOR:
        return *unit_outlines(kind), UNIT_FRAME
    mirror = np.array([random.choice((-1, 1)), 1], dtype=np.float32)
    return tuple(points * mirror for points in (*emoji(kind).outlines, emoji(kind).frame))


def _too_close(one: Shape, other: Shape) -> bool:
    """Whether the boxes of two shapes are closer than the gap."""
    a, b = one.box, other.box
    return all(a[axis] < b[axis + 2] + GAP and b[axis] < a[axis + 2] + GAP for axis in (0, 1))


def _choose_background(random: np.random.Generator, shapes: list[Shape]) -> Color:
    """Choose a colour far from every shape: the first of 40 random ones that is far enough, else the farthest."""
    used = np.array([shape.rgb for shape in shapes], dtype=np.float32)
    greys = random.integers(40, 216, size=(40, 1))
    candidates = np.clip(greys + random.integers(-BACKGROUND_TINT, BACKGROUND_TINT + 1, size=(40, 3)), 0, 255)
    distances = np.linalg.norm(candidates[:, None] - used, axis=-1).min(axis=1)
    far = np.flatnonzero(distances > BACKGROUND_CONTRAST)
    chosen = candidates[far[0] if len(far) else distances.argmax()]
    red, green, blue = chosen.tolist()
    return red, green, blue
