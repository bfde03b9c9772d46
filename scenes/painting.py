"""Paint a layout at any size, and compute the exact share of each pixel that a shape covers."""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from scenes.emoji import Rgba, emoji
from scenes.layout import Layout, Shape
from scenes.outlines import Points

Pixels: TypeAlias = npt.NDArray[np.uint8]
Coverage: TypeAlias = npt.NDArray[np.float32]

SUPERSAMPLING = 4
_SUBPIXEL_BITS = 4


def coverage(outlines: tuple[Points, ...], width: int, height: int) -> Coverage:
    """float32[height, width] in 0..1: the share of each pixel inside ``outlines``, which are in 0..1 of the image."""
    scale = np.array([width, height], dtype=np.float32) * SUPERSAMPLING
    # Samples are taken at pixel centres, so subtract a half. fillPoly takes fixed-point numbers.
    corners = [np.round((outline * scale - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32) for outline in outlines]
    canvas = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), dtype=np.uint8)
    cv2.fillPoly(canvas, corners, 255, shift=_SUBPIXEL_BITS)
    shrunk = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.float32) / 255


def paint(layout: Layout, width: int, height: int) -> Pixels:
    """Paint the whole layout, stretched to that size: uint8[height, width, 3] RGB."""
    image = _paint_background(layout, width, height)
    random = np.random.default_rng([layout.seed, 2])
    for shape in layout.shapes:
        _paint_shape(random, image, shape)
    return np.clip(image, 0, 255).round().astype(np.uint8)


def _paint_shape(random: np.random.Generator, image: Coverage, shape: Shape) -> None:
    """Blend one shape into ``image``, float32[H, W, 3]. Only the pixels of its box change."""
    height, width = image.shape[:2]
    if shape.is_emoji:
        _paint_emoji(image, shape.kind, shape.frame)
        return
    y0, x0, y1, x1 = shape.box
    top, left = int(y0 * height), int(x0 * width)
    bottom, right = min(int(y1 * height) + 2, height), min(int(x1 * width) + 2, width)
    size = np.array([right - left, bottom - top], dtype=np.float32)
    corner = np.array([left, top], dtype=np.float32)
    local = tuple((outline * (width, height) - corner) / size for outline in shape.outlines)
    alpha = coverage(local, right - left, bottom - top)[..., None]
    paint = np.array(shape.rgb, dtype=np.float32) + _gradient(random, right - left, bottom - top, 16)[..., None]
    region = image[top:bottom, left:right]
    region += alpha * (paint - region)


def _paint_emoji(image: Coverage, name: str, frame: Points) -> None:
    """Blend the picture of an emoji into ``image``, float32[H, W, 3]; ``frame`` says where, in 0..1 of the image."""
    height, width = image.shape[:2]
    corners = frame * np.array([width, height], dtype=np.float32)
    sides = np.linalg.norm(corners[1:] - corners[0], axis=1)
    picture = _shrunk(emoji(name).picture, *sides.tolist())
    rows, columns = picture.shape[:2]
    # Corners are edges of pixels; warpAffine counts from their centres.
    edges = np.array([(0, 0), (columns, 0), (0, rows)], dtype=np.float32) - 0.5
    transform = cv2.getAffineTransform(edges, corners - 0.5)
    layer = cv2.warpAffine(picture, transform, (width, height), flags=cv2.INTER_LINEAR)
    image *= 1 - layer[..., 3:]
    image += layer[..., :3]


def _shrunk(picture: Rgba, width: float, height: float) -> Coverage:
    """float32[H, W, 4] with colours multiplied by alpha in 0..1; not larger than needed, so that it can be sampled."""
    opaque = picture.astype(np.float32)
    opaque[..., 3] /= 255
    opaque[..., :3] *= opaque[..., 3:]
    rows, columns = picture.shape[:2]
    smaller = min(columns, max(1, round(width))), min(rows, max(1, round(height)))
    return cv2.resize(opaque, smaller, interpolation=cv2.INTER_AREA).astype(np.float32)


def _paint_background(layout: Layout, width: int, height: int) -> Coverage:
    """float32[H, W, 3]: a base colour plus a random choice of gradient, blotches, stripes and grain, or none."""
    random = np.random.default_rng([layout.seed, 1])
    light = np.zeros((height, width), dtype=np.float32)
    if random.random() < 0.4:
        light += _gradient(random, width, height, 40)
    if random.random() < 0.4:
        light += _blotches(random, width, height)
    if random.random() < 0.3:
        light += _stripes(random, width, height)
    if random.random() < 0.4:
        grain = random.integers(-6, 7, size=(240, 240), dtype=np.int8).astype(np.float32)
        light += cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.array(layout.background, dtype=np.float32) + light[..., None]


def _gradient(random: np.random.Generator, width: int, height: int, max_change: float) -> Coverage:
    dx, dy = random.uniform(-max_change, max_change, size=2)
    across, down = np.linspace(-dx, dx, width), np.linspace(-dy, dy, height)
    return np.add.outer(down, across).astype(np.float32)


def _blotches(random: np.random.Generator, width: int, height: int) -> Coverage:
    cells = int(random.integers(4, 24))
    blotches = random.uniform(-28, 28, size=(cells, cells)).astype(np.float32)
    return cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _stripes(random: np.random.Generator, width: int, height: int) -> Coverage:
    waves, phase = random.uniform(-60, 60, size=2), random.uniform(0, 6)
    across, down = np.linspace(0, waves[0], width), np.linspace(phase, waves[1] + phase, height)
    return (random.uniform(4, 18) * np.sin(np.add.outer(down, across))).astype(np.float32)
