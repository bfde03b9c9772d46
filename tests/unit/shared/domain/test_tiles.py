from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.tiles import AUTO, CHOICES, MAX_TILES, NONE, choose_tiles, picture_views, read_tiles

_SIDES = st.integers(1, 9_000)


@pytest.mark.parametrize(
    ("text", "tiles"),
    [("auto", AUTO), ("1", NONE), ("1x1", NONE), ("3x1", "3x1"), (" 2X2 ", "2x2"), ("16x1", "16x1"), ("AUTO", AUTO)],
)
def test_tiles_are_read_in_one_form(text: str, tiles: str) -> None:
    assert read_tiles(text) == tiles


@pytest.mark.parametrize(
    "text", ["", "0", "2", "-1", "0x3", "17x1", "5x4", "3 x 1", "3x", "x", "3x1x1", "1e1x1", "٣x1"]
)
def test_other_tiles_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_TILES} tiles"):
        read_tiles(text)


@pytest.mark.parametrize(
    ("width", "height", "tiles"),
    [
        (640, 480, NONE),
        (1920, 1080, NONE),
        (1000, 500, NONE),
        (1001, 500, "2x1"),
        (1600, 400, "3x1"),
        (400, 1600, "1x3"),
        (100_000, 10, "16x1"),
        (1, 9_000, "1x16"),
    ],
)
def test_only_wide_and_tall_pictures_are_cut_by_default(width: int, height: int, tiles: str) -> None:
    assert choose_tiles(AUTO, width, height) == tiles


@given(st.sampled_from(CHOICES), _SIDES, _SIDES)
def test_the_first_view_is_the_whole_picture_and_tiles_cover_it(tiles: str, width: int, height: int) -> None:
    whole, *boxes = picture_views(tiles, width, height)
    assert whole == (0, 0, width, height)
    assert len(boxes) <= MAX_TILES
    assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in boxes)
    if boxes:
        assert (min(box[0] for box in boxes), min(box[1] for box in boxes)) == (0, 0)
        assert (max(box[2] for box in boxes), max(box[3] for box in boxes)) == (width, height)


@given(st.integers(2, MAX_TILES), st.integers(100, 9_000))
def test_neighbouring_tiles_overlap(count: int, width: int) -> None:
    boxes = picture_views(f"{count}x1", width, 100)[1:]
    assert all(left[2] > right[0] for left, right in pairwise(boxes))
