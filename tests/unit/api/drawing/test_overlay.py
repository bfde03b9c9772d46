"""The overlay: its size, the coloured pixels, and outlines that are visible on any background."""

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor
from pycocotools import mask as coco

from api.drawing.overlay import draw_overlay
from api.drawing.palette import PALETTE
from shared.domain.result import RleMask, SegmentationResult, SegmentedObject
from shared.errors import ImageUnreadable
from shared.images.sandbox import DecodingPool
from shared.settings import Settings
from testing.factories import segmentation_result, segmented_object
from testing.pictures import encoded

_Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecodingPool]:
    with DecodingPool(Settings.of().images) as decoders:
        yield decoders


def _result(width: int, height: int, *objects: SegmentedObject) -> SegmentationResult:
    return segmentation_result(*objects, width=width, height=height)


def _disc(width: int, height: int, x: int, y: int, radius: int) -> SegmentedObject:
    rows, columns = np.mgrid[0:height, 0:width]
    inside = np.hypot(columns - x, rows - y) < radius
    counts = coco.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"].decode()
    box = (max(0, x - radius + 1), max(0, y - radius + 1), min(width, x + radius), min(height, y + radius))
    mask = RleMask(size=(height, width), counts=counts)
    return segmented_object(label="disc", box=box, area=int(inside.sum()), mask=mask)


def _drawn(decoders: DecodingPool, ground: Image.Image, *objects: SegmentedObject) -> _Pixels:
    png = draw_overlay(encoded(ground), _result(*ground.size, *objects), decoders)
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(("width", "height"), [(400, 300), (1, 1), (3, 2000), (2400, 1600), (64, 48)])
def test_an_overlay_has_the_shape_of_the_image_and_a_bounded_size(
    decoders: DecodingPool, width: int, height: int
) -> None:
    found = _disc(width, height, width // 2, height // 2, max(1, min(width, height) // 3))
    drawn = _drawn(decoders, Image.new("RGB", (width, height)), found)
    assert max(drawn.shape[:2]) == min(1600, max(width, height))
    assert drawn.shape[1] / drawn.shape[0] == pytest.approx(width / height, rel=0.3)


def test_only_the_inside_of_a_mask_is_tinted(decoders: DecodingPool) -> None:
    drawn = _drawn(decoders, Image.new("RGB", (400, 300)), _disc(400, 300, 120, 180, 60))
    tints = [np.array(ImageColor.getrgb(color)) * 0.35 for color in PALETTE]
    assert min(np.abs(drawn[180, 120] - tint).max() for tint in tints) <= 2
    assert (drawn[:, 250:] == 0).all()


def test_the_object_stays_visible_under_its_tint(decoders: DecodingPool) -> None:
    stripes = np.zeros((300, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    inside = _drawn(decoders, Image.fromarray(stripes), _disc(400, 300, 200, 150, 100))[150, 150:250].astype(int)
    assert np.abs(np.diff(inside, axis=0)).min() > 100


@pytest.mark.parametrize("ground", [*PALETTE, "black", "white", "gray"])
def test_an_outline_is_visible_on_any_background(decoders: DecodingPool, ground: str) -> None:
    """From inside to outside: the object's colour, a light and a dark line. Two of them differ from any background."""
    drawn = _drawn(decoders, Image.new("RGB", (800, 600), ground), _disc(800, 600, 400, 300, 150))
    luminance = [_luminance(pixel) for pixel in drawn[300, 535:560]]
    contrasts = [_contrast(each, _luminance(drawn[590, 790])) for each in luminance]
    assert max(contrasts) >= 4.5  # as WCAG requires for text; for graphics it requires 3
    assert _contrast(max(luminance), min(luminance)) >= 15


def _luminance(pixel: npt.NDArray[np.uint8]) -> float:
    value = pixel / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_a_hole_is_not_filled(decoders: DecodingPool) -> None:
    rows, columns = np.mgrid[0:300, 0:400]
    distance = np.hypot(columns - 200, rows - 150)
    ring = ((distance > 50) & (distance < 100)).astype(np.uint8)
    mask = RleMask(size=(300, 400), counts=coco.encode(np.asfortranarray(ring))["counts"].decode())
    found = segmented_object(label="ring", box=(100, 50, 300, 250), area=int(ring.sum()), mask=mask)
    drawn = _drawn(decoders, Image.new("RGB", (400, 300)), found)
    assert (drawn[150, 170:230] == 0).all()
    assert (drawn[150, 270] > 0).any()


def test_lines_grow_with_the_picture(decoders: DecodingPool) -> None:
    widths = []
    for scale in (1, 4):
        width, height = 400 * scale, 300 * scale
        found = _disc(width, height, width // 2, height // 2, height // 3)
        row = _drawn(decoders, Image.new("RGB", (width, height)), found)[height // 2, width // 2 :]
        widths.append(int((row > 230).all(1).sum()))  # the light line
    assert widths[1] >= 2 * widths[0] > 0


def test_lines_and_tints_are_smooth(decoders: DecodingPool) -> None:
    """The mask has only pixels that are inside or outside. Every transition in the picture has steps between."""
    drawn = _drawn(decoders, Image.new("RGB", (800, 600), "gray"), _disc(800, 600, 400, 300, 150))
    (ground, tint), values = (drawn[590, 790], drawn[300, 400]), drawn.reshape(-1, 3)
    outer = values[(values[:, 0] == values[:, 1]) & (values[:, 0] > 5) & (values[:, 0] < ground[0] - 5)]
    assert len(outer) > 300  # between the dark line and the ground: the circle has about 1,000 pixels of it
    assert len(np.unique(values, axis=0)) > 100
    assert (tint != ground).any()


@pytest.mark.parametrize("ground", PALETTE)
def test_a_mask_is_not_drawn_in_the_color_that_it_covers(decoders: DecodingPool, ground: str) -> None:
    picture = Image.new("RGB", (400, 300), ground)
    drawn = _drawn(decoders, picture, _disc(400, 300, 200, 150, 60)).astype(int)
    assert np.abs(drawn[150, 200] - np.array(ImageColor.getrgb(ground))).max() > 30


def test_the_smallest_mask_is_visible(decoders: DecodingPool) -> None:
    drawn = _drawn(decoders, Image.new("RGB", (400, 300), "gray"), _disc(400, 300, 200, 150, 1))
    assert (np.abs(drawn[140:160, 190:210].astype(int) - 128).max(2) > 60).sum() >= 9


def test_an_object_without_a_mask_is_drawn_as_its_box(decoders: DecodingPool) -> None:
    found = segmented_object(label="box", score=0.5, box=(300, 100, 380, 180), area=0, mask=None)
    drawn = _drawn(decoders, Image.new("RGB", (400, 300)), found)
    assert drawn[179, 340].max() > 60
    assert drawn[140, 340].max() == 0


def test_a_damaged_image_is_an_error(decoders: DecodingPool) -> None:
    whole = encoded(Image.effect_noise((200, 200), 90).convert("RGB"))
    damaged = whole[:2000] + bytes(500) + whole[2500:]
    with pytest.raises(ImageUnreadable):
        draw_overlay(damaged, _result(200, 200), decoders)
