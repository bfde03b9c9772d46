"""Outlines of masks: pycocotools draws them back to the same pixels."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from pycocotools import mask as coco_mask

from api.formats.outlines import outlines
from shared.domain.result import RleMask


def _mask(pixels: npt.NDArray[np.bool_]) -> RleMask:
    encoded = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    height, width = encoded["size"]
    return RleMask(size=(height, width), counts=encoded["counts"].decode())


def _drawn(polygons: list[list[tuple[int, int]]], height: int, width: int) -> npt.NDArray[np.bool_]:
    if not polygons:
        return np.zeros((height, width), np.bool_)
    flat = [[number for point in loop for number in point] for loop in polygons]
    drawn: npt.NDArray[np.bool_] = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width))) == 1
    return drawn


def _area(loop: list[tuple[int, int]]) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*loop, loop[0]])) / 2


_MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(_MASKS)
def test_polygons_cover_exactly_the_pixels_of_the_mask(pixels: npt.NDArray[np.bool_]) -> None:
    polygons = outlines(_mask(pixels))
    assert (_drawn(polygons, *pixels.shape) == pixels).all()
    assert all(_area(loop) > 0 for loop in polygons)  # none is a hole
    assert sum(map(_area, polygons)) == pixels.sum()  # and none lies over another
    assert all(len(loop) >= 4 for loop in polygons)
    for loop in polygons:  # only corners, with horizontal and vertical sides in turns
        sides = [x0 == x1 for (x0, _), (x1, _) in pairwise([*loop, loop[0]])]
        assert all(one != other for one, other in pairwise([*sides, sides[0]]))


def test_a_mask_without_holes_is_one_polygon_for_each_part() -> None:
    pixels = np.zeros((6, 9), np.bool_)
    pixels[1:4, 1:4] = pixels[2:5, 6:8] = True
    assert [len(loop) for loop in outlines(_mask(pixels))] == [4, 4]


def test_a_mask_with_a_hole_is_cut_once() -> None:
    pixels = np.ones((7, 7), np.bool_)
    pixels[2:4, 2:4] = False
    assert len(outlines(_mask(pixels))) == 2
    pixels[5, 2:4] = False  # a second hole in the same columns
    assert len(outlines(_mask(pixels))) == 2


@pytest.mark.parametrize("pixels", [np.indices((8, 8)).sum(0) % 2 == 0, np.zeros((4, 4), np.bool_)])
def test_pixels_that_touch_at_a_corner_are_apart(pixels: npt.NDArray[np.bool_]) -> None:
    polygons = outlines(_mask(pixels))
    assert len(polygons) == pixels.sum()
    assert (_drawn(polygons, *pixels.shape) == pixels).all()
