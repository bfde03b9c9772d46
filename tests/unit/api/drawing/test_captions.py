"""Places of captions: inside the picture, not on top of each other, and near their objects."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from api.drawing.captions import Caption, PlacedCaption, draw_caption, place_captions
from api.drawing.palette import BoxXyxy


def _assert_in_place(placed: list[PlacedCaption], size: tuple[int, int]) -> None:
    for caption in placed:
        x0, y0, x1, y1 = caption.plate
        assert 0 <= x0 < x1 <= size[0]
        assert 0 <= y0 < y1 <= size[1]
    for one, other in itertools.combinations(placed, 2):
        a, b = one.plate, other.plate
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def _captions(*boxes: BoxXyxy, text: str = "left wheel 0.93") -> list[Caption]:
    return [Caption(text, "#E69F00", box) for box in boxes]


@given(
    st.lists(st.tuples(*[st.integers(0, 999)] * 4), max_size=30),
    st.text(max_size=40),
    st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
)
def test_captions_are_inside_the_picture_and_disjoint(
    corners: list[tuple[int, ...]], text: str, size: tuple[int, int]
) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    _assert_in_place(place_captions(_captions(*boxes, text=text), size, line=2), size)


def test_twenty_objects_in_one_place_all_have_captions() -> None:
    placed = place_captions(_captions(*[(300, 200, 400, 300)] * 20), (800, 600), line=2)
    assert len(placed) == 20
    _assert_in_place(placed, (800, 600))


@pytest.mark.parametrize(
    "box", [(0, 0, 50, 50), (750, 0, 800, 50), (0, 550, 50, 600), (750, 550, 800, 600), (0, 0, 800, 600)]
)
def test_a_caption_is_near_its_object_even_in_a_corner(box: BoxXyxy) -> None:
    (caption,) = place_captions(_captions(box), (800, 600), line=2)
    x0, y0, x1, y1 = caption.plate
    assert x0 <= box[2] + 10
    assert box[0] <= x1 + 10
    assert y0 <= box[3] + 10
    assert box[1] <= y1 + 10


def test_a_long_text_is_cut_and_a_caption_without_a_place_is_left_out() -> None:
    (caption,) = place_captions(_captions((0, 0, 9, 9), text="word " * 50), (200, 100), line=2)
    assert caption.text.endswith("...")
    assert place_captions(_captions((0, 0, 3, 3)), (5, 5), line=2) == []
    assert place_captions(_captions((0, 0, 3, 3), text="two\nlines"), (200, 100), line=2)[0].text == "two lines"


def test_the_text_lies_on_its_plate_and_the_plate_has_its_color() -> None:
    picture = Image.new("RGB", (300, 200), "green")
    (caption,) = place_captions(_captions((100, 100, 200, 150)), picture.size, line=2)
    before = np.asarray(picture).copy()
    draw_caption(picture, caption, line=2)
    changed = np.argwhere((np.asarray(picture) != before).any(2))
    x0, y0, x1, y1 = caption.plate
    assert changed.min(0).tolist() == [y0, x0]
    assert changed.max(0).tolist() == [y1 - 1, x1 - 1]
    plate = np.asarray(picture)[y0:y1, x0:x1]
    assert (plate == (0xE6, 0x9F, 0x00)).all(2).mean() > 0.4
    assert (plate.max(2) < 60).sum() > 50  # the letters
