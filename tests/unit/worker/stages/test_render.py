import base64
import io
import warnings

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from api.drawing.mask_image import mask_image, row_runs
from shared.domain.brush import BrushRegion
from shared.domain.job import MaskFormat
from shared.domain.result import PngMask, PolygonMask, RleMask
from shared.domain.tiles import BoxXyxy
from worker.stages.parse import Detection
from worker.stages.pixel_mask import PixelMask
from worker.stages.place import locations_yxyx_to_pixels_xyxy, place
from worker.stages.render import render_object, to_brush, to_crop, to_png, to_polygon, to_rle

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is written for an older pydantic
    from label_studio_sdk.converter import brush

_INSIDE = np.ones((64, 64), np.float32)


def _mask(inside: npt.NDArray[np.bool_], x0: int, y0: int, width: int, height: int) -> PixelMask:
    """The mask whose box contains `inside`: a soft mask of the size of its box is not resized."""
    box = (x0, y0, x0 + inside.shape[1], y0 + inside.shape[0])
    return PixelMask(np.where(inside, 1, -1).astype(np.float32), box, width, height)


def _some_masks() -> list[PixelMask]:
    random = np.random.default_rng(0)
    full, hole = np.ones((9, 7), np.bool_), np.ones((9, 7), np.bool_)
    hole[3:6, 2:4] = False
    masks = [
        _mask(full, 0, 0, 7, 9),  # the whole image
        _mask(full, 3, 0, 20, 9),  # whole columns: runs join over column ends
        _mask(hole, 3, 2, 20, 19),
        _mask(np.zeros((9, 7), np.bool_), 3, 2, 20, 19),  # nothing
        _mask(np.ones((1, 1), np.bool_), 0, 0, 1, 1),  # the whole of one pixel
        *(_mask(np.ones((1, 1), np.bool_), x, y, 20, 19) for x in (0, 19) for y in (0, 18)),  # one pixel, each corner
    ]
    for _ in range(60):
        height, width = random.integers(1, 40, 2)
        x0, y0 = random.integers(0, 20, 2)
        inside = random.random((height, width)) < random.choice([0.1, 0.5, 0.9])
        margin_x, margin_y = random.integers(0, 5, 2)
        masks.append(_mask(inside, x0, y0, x0 + width + margin_x, y0 + height + margin_y))
    return masks


@pytest.mark.parametrize("mask", _some_masks())
def test_run_lengths_equal_pycocotools(mask: PixelMask) -> None:
    expected = coco.encode(np.asfortranarray(mask.full.astype(np.uint8)))
    rle = to_rle(mask)
    assert (list(rle.size), rle.counts) == (expected["size"], expected["counts"].decode())


@pytest.mark.parametrize("mask", _some_masks())
def test_run_lengths_drawn_without_numpy_give_the_mask(mask: PixelMask) -> None:
    assert (np.asarray(mask_image(to_rle(mask))) == np.where(mask.full, 255, 0)).all()


@pytest.mark.parametrize("mask", _some_masks())
def test_polygons_drawn_again_give_the_mask(mask: PixelMask) -> None:
    assert (_draw(to_polygon(mask), mask.width, mask.height) == mask.full).all()


def test_a_polygon_of_a_frame_has_one_hole() -> None:
    frame = np.ones((10, 10), np.bool_)
    frame[3:7, 3:7] = False
    (polygon,) = to_polygon(_mask(frame, 5, 5, 30, 30)).polygons
    assert len(polygon.holes) == 1
    assert {x for x, _ in polygon.exterior} == {5.0, 5.5, 14.5, 15.0}


def _draw(mask: PolygonMask, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Whether each pixel's centre is inside, by the even-odd rule, computed point by point."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inside = np.zeros((height, width), np.bool_)
    for polygon in mask.polygons:
        for ring in (polygon.exterior, *polygon.holes):
            for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                crosses = (y0 > y) != (y1 > y)
                if y0 != y1:
                    inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@pytest.mark.parametrize(
    ("locations", "size", "box"),
    [
        ((0, 0, 1023, 1023), (640, 480), (0, 0, 640, 480)),  # reaches all four borders
        ((0, 0, 1023, 1023), (1, 1), (0, 0, 1, 1)),
        ((0, 0, 1022, 1022), (640, 480), (0, 0, 639, 480)),
        ((512, 256, 1023, 768), (1023, 1023), (256, 512, 768, 1023)),
        ((1022, 1022, 1023, 1023), (10, 10), (9, 9, 10, 10)),  # smaller than a pixel: becomes one pixel
        ((0, 0, 1, 1), (10, 10), (0, 0, 1, 1)),
        ((500, 500, 501, 501), (10, 10), (5, 5, 6, 6)),
    ],
)
def test_locations_become_pixels(locations: tuple[int, ...], size: tuple[int, int], box: BoxXyxy) -> None:
    assert locations_yxyx_to_pixels_xyxy(locations, *size) == box


@given(st.tuples(*[st.integers(0, 1023)] * 4), st.integers(1, 5000), st.integers(1, 5000))
def test_a_valid_box_lies_in_the_image_and_is_never_empty(values: tuple[int, ...], width: int, height: int) -> None:
    y0, y1 = sorted(values[:2])
    x0, x1 = sorted(values[2:])
    left, top, right, bottom = locations_yxyx_to_pixels_xyxy((y0, x0, y1, x1), width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_a_mask_is_resized_before_it_is_compared_with_0() -> None:
    soft = np.full((64, 64), -0.2, np.float32)
    soft[:, 32:] = 0.8  # the edge crosses 0 a fifth of the way from one cell to the next
    mask = PixelMask(soft, (0, 0, 640, 64), 640, 64)
    first_inside = int(mask.full[32].argmax())
    assert first_inside == pytest.approx(320 - 5 + 2, abs=1)


@pytest.mark.parametrize("box", [(0, 0, 640, 480), (0, 0, 1, 1), (639, 479, 640, 480), (100, 0, 101, 480)])
def test_a_full_mask_fills_its_box_and_nothing_else(box: BoxXyxy) -> None:
    mask = PixelMask(_INSIDE, box, 640, 480)
    x0, y0, x1, y1 = box
    assert mask.full.sum() == mask.area == (x1 - x0) * (y1 - y0)
    assert mask.full[y0:y1, x0:x1].all()


def test_png_and_crop_are_images_of_the_mask() -> None:
    image = Image.new("F", (64, 64), -1)
    ImageDraw.Draw(image).ellipse((8, 8, 56, 56), fill=1)
    mask = PixelMask(np.asarray(image), (10, 20, 110, 100), 200, 150)
    assert (_open(to_png(mask), "1") == mask.full).all()
    crop = _open(to_crop(mask), "L")
    assert crop.shape == (64, 64)
    assert ((crop > 127.5) == (mask.soft > 0)).all()


def _ring_with_a_hole() -> PixelMask:
    image = Image.new("F", (64, 64), -1)
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 60, 60), fill=1)
    draw.ellipse((20, 24, 44, 40), fill=-1)
    return PixelMask(np.asarray(image), (40, 20, 540, 380), 600, 400)


def test_opencv_sees_the_same_mask_in_every_format() -> None:
    mask = _ring_with_a_hole()
    assert ((_read_with_opencv(to_png(mask)) > 0) == mask.full).all()
    (polygon,) = to_polygon(mask).polygons
    drawn = np.zeros(mask.full.shape, np.uint8)
    sixteenths = [np.round((np.array(ring) - 0.5) * 16).astype(np.int32) for ring in (polygon.exterior, *polygon.holes)]
    cv2.fillPoly(drawn, sixteenths, 1, shift=4)  # draws the border too, so up to a pixel more on either side
    assert len(polygon.holes) == 1
    assert np.logical_xor(drawn, mask.full).sum() <= cv2.arcLength(sixteenths[0], True) / 16 * 2
    crop = _read_with_opencv(to_crop(mask)).astype(np.float32)
    resized = cv2.resize(crop, (500, 360), interpolation=cv2.INTER_LINEAR) > 127.5
    assert np.logical_xor(resized, mask.full[20:380, 40:540]).mean() < 0.001


def _read_with_opencv(mask: PngMask) -> npt.NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(mask.data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def test_the_polygons_have_the_area_of_the_mask() -> None:
    mask = _ring_with_a_hole()
    (polygon,) = to_polygon(mask).polygons
    exterior, hole = (cv2.contourArea(np.array(ring, np.float32)) for ring in (polygon.exterior, *polygon.holes))
    assert exterior - hole == pytest.approx(mask.area, rel=0.002)


def test_label_studio_unpacks_the_pixels_of_a_brush_label() -> None:
    for mask in [*_some_masks(), _ring_with_a_hole()]:
        region = to_brush(mask).region
        assert (region.original_width, region.original_height) == (mask.width, mask.height)
        assert (brush.decode_rle(region.value.rle)[::4] > 0).tolist() == mask.full.ravel().tolist()
        assert region.value == BrushRegion.of(row_runs(to_rle(mask)), mask.width, mask.height).value


def _open(mask: PngMask, mode: str) -> npt.NDArray[np.uint8]:
    image = Image.open(io.BytesIO(base64.b64decode(mask.data)))
    assert (image.mode, image.size) == (mode, mask.size[::-1])
    return np.asarray(image)


def test_an_object_has_the_requested_formats_and_always_run_lengths() -> None:
    detection = Detection("cat", (0, 0, 512, 512), tuple(range(16)), 0.75)
    found = render_object(place(detection, _INSIDE, (100, 80)), [MaskFormat.PNG, MaskFormat.POLYGON])
    assert [found.mask.format if found.mask else None, *(each.format for each in found.alternate_masks)] == [
        "png",
        "polygon",
        "rle",
    ]
    assert isinstance(found.rle, RleMask)
    assert (found.box, found.area, found.score) == ((0, 0, 50, 40), 2000, 0.75)


def test_a_box_without_a_mask_has_none() -> None:
    found = render_object(place(Detection("cat", (0, 0, 512, 512), None, 0.75), None, (100, 80)), [MaskFormat.RLE])
    assert (found.mask, found.alternate_masks, found.area) == (None, [], 0)
