"""One object of the picture is one object of the result, however often the model writes it."""

from __future__ import annotations

import numpy as np
import pytest

from shared.domain.tiles import BoxXyxy, picture_views
from worker.stages.merge import merge_duplicates, merge_views
from worker.stages.pixel_mask import PixelMask, RunMask
from worker.stages.place import FoundObject

_WIDTH, _HEIGHT = 1_000, 250
_WHOLE, _LEFT, _MIDDLE, _RIGHT = picture_views("3x1", _WIDTH, _HEIGHT)
_INSIDE = np.ones((64, 64), np.float32)


def _found(
    box: BoxXyxy, view: BoxXyxy = _WHOLE, *, label: str | None = "cat", score: float = 0.5, has_mask: bool = True
) -> FoundObject:
    """An object that fills its box."""
    mask = PixelMask(_INSIDE, box, _WIDTH, _HEIGHT) if has_mask else None
    return FoundObject(label, score, score, box, mask, view, _WIDTH, _HEIGHT)


def _boxes(found: list[FoundObject]) -> list[BoxXyxy]:
    return [each.box for each in found]


@pytest.mark.parametrize("has_mask", [True, False])
def test_of_five_repeats_the_best_is_kept(has_mask: bool) -> None:
    repeats = [_found((10, 10, 60, 60), score=score, has_mask=has_mask) for score in (0.5, 0.6, 0.9, 0.7, 0.5)]
    (one,) = merge_duplicates(repeats)
    assert (one.score, one.merged) == (0.9, 4)


def test_duplicates_may_differ_by_a_few_pixels() -> None:
    assert len(merge_duplicates([_found((10, 10, 110, 110)), _found((15, 12, 112, 115))])) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_found((10, 10, 60, 60)), _found((10, 10, 60, 60), label="dog")),
        (_found((10, 10, 60, 60)), _found((10, 10, 60, 60), label=None)),
        (_found((10, 10, 60, 60)), _found((70, 10, 120, 60))),
        (_found((10, 10, 60, 60)), _found((60, 10, 110, 60))),  # they touch
        (_found((10, 10, 210, 210)), _found((20, 20, 60, 60))),  # one lies in the other
        (_found((10, 10, 110, 110)), _found((60, 10, 160, 110))),  # they overlap by a half
    ],
)
def test_different_objects_stay_apart(one: FoundObject, other: FoundObject) -> None:
    assert _boxes(merge_duplicates([one, other])) == [one.box, other.box]


def test_merged_objects_stay_in_the_order_of_the_answer() -> None:
    first, second = (300, 10, 350, 60), (10, 10, 60, 60)
    assert _boxes(merge_duplicates([_found(first), _found(second), _found(first, score=0.9)])) == [first, second]


def test_an_object_in_the_overlap_of_two_tiles_is_one() -> None:
    box = (320, 50, 380, 110)
    objects, parts = merge_views([[], [_found(box, _LEFT)], [_found(box, _MIDDLE, score=0.9)], []])
    assert (_boxes(objects), [each.merged for each in objects], parts) == ([box], [1], [])


def test_a_tile_shows_an_object_better_than_the_whole_picture() -> None:
    coarse, fine = (90, 40, 170, 120), (100, 50, 160, 110)
    objects, _ = merge_views([[_found(coarse, score=0.9)], [_found(fine, _LEFT, score=0.4)], [], []])
    assert _boxes(objects) == [fine]


def test_an_object_larger_than_a_tile_is_as_the_whole_picture_shows_it() -> None:
    whole = (100, 20, 900, 230)
    parts = [
        _found((100, 20, 400, 230), _LEFT),
        _found((300, 20, 700, 230), _MIDDLE),
        _found((600, 20, 900, 230), _RIGHT),
    ]
    objects, cut = merge_views([[_found(whole)], *[[part] for part in parts]])
    assert (_boxes(objects), cut) == ([whole], [])


def test_two_parts_that_meet_in_an_overlap_are_joined() -> None:
    left, right = _found((200, 50, _LEFT[2], 150), _LEFT), _found((_MIDDLE[0], 50, 520, 150), _MIDDLE)
    (joined,), cut = merge_views([[], [left], [right], []])
    assert (joined.box, joined.merged, cut) == ((200, 50, 520, 150), 1, [])
    assert isinstance(joined.mask, RunMask)
    assert joined.mask.area == 320 * 100
    assert joined.mask.full[50:150, 200:520].all()
    assert joined.mask.soft.shape == (64, 64)
    assert (joined.mask.soft == 1).all()


def test_two_boxes_without_masks_are_joined_too() -> None:
    left = _found((200, 50, _LEFT[2], 150), _LEFT, has_mask=False)
    right = _found((_MIDDLE[0], 50, 520, 150), _MIDDLE, has_mask=False)
    (joined,), _ = merge_views([[], [left], [right], []])
    assert (joined.box, joined.mask) == ((200, 50, 520, 150), None)


def test_a_part_that_only_one_tile_shows_is_left_out() -> None:
    part = _found((350, 50, _LEFT[2], 150), _LEFT)
    assert merge_views([[], [part], [], []]) == ([], [part])


def test_at_the_edge_of_the_picture_nothing_is_cut() -> None:
    objects, cut = merge_views([[], [_found((0, 0, 60, 250), _LEFT)], [], [_found((900, 0, 1_000, 250), _RIGHT)]])
    assert (_boxes(objects), cut) == ([(0, 0, 60, 250), (900, 0, 1_000, 250)], [])


def test_two_objects_of_one_view_never_become_one() -> None:
    near = [_found((100, 50, 160, 110), _LEFT), _found((110, 50, 170, 110), _LEFT)]
    objects, _ = merge_views([[_found((100, 50, 170, 110))], near, [], []])
    assert len(objects) == 2


def test_kept_duplicates_are_found_again_in_a_tile_one_by_one() -> None:
    twice = [_found((100, 50, 160, 110)), _found((100, 50, 160, 110))]
    objects, _ = merge_views([twice, [_found((100, 50, 160, 110), _LEFT)], [], []])
    assert sorted(each.merged for each in objects) == [0, 1]
