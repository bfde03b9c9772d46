"""Scores follow the protocol, case by case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evaluation.example import DataError, Question, Truth, mask_to_rle
from evaluation.metrics import figures
from evaluation.scoring import box_iou, score
from shared.domain.result import RleMask, SegmentationResult
from testing.factories import segmentation_result, segmented_object

_SIDE = 1023
"""So that a location is a pixel."""
_CODES = "<seg000>" * 16


def _square(y0: int, x0: int, y1: int, x1: int) -> dict[str, object]:
    mask = np.zeros((_SIDE, _SIDE), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask_to_rle(mask)


def _truth(label: str, *box: int) -> Truth:
    y0, x0, y1, x1 = box
    return Truth(label, (y0 / _SIDE, x0 / _SIDE, y1 / _SIDE, x1 / _SIDE), _square(*box))


def _answer(*objects: tuple[str, tuple[int, int, int, int]], text: str | None = None) -> SegmentationResult:
    """A result whose masks fill their boxes."""
    found = [
        segmented_object(
            label=label, score=1, box=(box[1], box[0], box[3], box[2]), area=1,
            mask=RleMask(size=(_SIDE, _SIDE), counts=_square(*box)["counts"].decode()),  # type: ignore[attr-defined]
        )
        for label, box in objects
    ]  # fmt: skip
    written = " ; ".join("".join(f"<loc{v:04d}>" for v in box) + _CODES + f" {label}" for label, box in objects)
    raw_text = written if text is None else text
    return segmentation_result(*found, width=_SIDE, height=_SIDE, raw_text=raw_text)


def _question(*truths: Truth, refers_to_one: bool = False) -> Question:
    return Question("q", "dog", lambda: b"", truths, refers_to_one)


def _ious(question: Question, result: SegmentationResult | None) -> Sequence[float]:
    return [round(each.iou, 3) for each in score(question, result).objects]


def test_the_same_mask_is_perfect() -> None:
    scored = score(_question(_truth("dog", 0, 0, 100, 100)), _answer(("dog", (0, 0, 100, 100))))
    (found,) = scored.objects
    assert (found.valid, found.iou, found.box_iou, found.box_error, scored.extra) == (True, 1, 1, 0, 0)


def test_half_of_it_is_half_and_a_box_is_right_from_a_half_on() -> None:
    scored = score(_question(_truth("dog", 0, 0, 100, 100)), _answer(("dog", (0, 0, 51, 100))))
    assert (scored.objects[0].iou, scored.objects[0].box_iou) == pytest.approx((0.51, 0.51))
    found = figures([scored], failed=0)
    assert (found["box_accuracy_50"], found["box_accuracy_75"], found["invalid"], found["total"]) == (1, 0, 0, 1)


def test_each_true_object_takes_the_answer_that_is_best_for_all() -> None:
    question = _question(_truth("dog", 0, 0, 100, 100), _truth("dog", 0, 50, 100, 150))
    greedy_would_take = ("dog", (0, 40, 100, 140))
    answer = _answer(greedy_would_take, ("dog", (0, 500, 100, 600)))
    assert sum(_ious(question, answer)) == pytest.approx(90 / 110, abs=1e-3)
    swapped = _answer(("dog", (0, 50, 100, 150)), ("dog", (0, 0, 100, 100)))
    assert _ious(question, swapped) == [1, 1]


def test_what_is_missing_is_invalid_and_what_is_too_many_is_extra() -> None:
    both = _question(_truth("dog", 0, 0, 10, 10), _truth("cat", 20, 20, 30, 30))
    missing = score(both, _answer(("dog", (0, 0, 10, 10))))
    assert [each.valid for each in missing.objects] == [True, False]
    too_many = score(both, _answer(("dog", (0, 0, 10, 10)), ("cat", (20, 20, 30, 30)), ("dog", (50, 50, 60, 60))))
    assert too_many.extra == 1
    assert figures([missing], 0)["miou"] == 0.5
    assert figures([missing], 0)["invalid"] == 1


def test_another_label_is_another_object() -> None:
    assert _ious(_question(_truth("dog", 0, 0, 10, 10)), _answer(("cat", (0, 0, 10, 10)))) == [0]
    assert _ious(_question(_truth("Dog", 0, 0, 10, 10)), _answer(("dog", (0, 0, 10, 10)))) == [1]


def test_no_answer_at_all_is_invalid() -> None:
    assert _ious(_question(_truth("dog", 0, 0, 10, 10)), None) == [0]


def test_absent_things_are_right_when_nothing_is_named() -> None:
    silent, talking = score(_question(), _answer()), score(_question(), _answer(("dog", (0, 0, 10, 10))))
    found = figures([silent, talking], failed=0)
    assert (found["absent"], found["absent_right"], found["total"]) == (2, 0.5, 0)
    assert "miou" not in found


def test_a_referring_expression_is_answered_by_the_first_object_whatever_its_label() -> None:
    question = _question(_truth("left dog", 0, 0, 10, 10), refers_to_one=True)
    assert _ious(question, _answer(("", (0, 0, 10, 10)), ("dog", (90, 90, 99, 99)))) == [1]
    assert _ious(question, _answer(("dog", (90, 90, 99, 99)), ("left dog", (0, 0, 10, 10)))) == [0]
    assert score(question, _answer(("a", (0, 0, 10, 10)), ("b", (0, 0, 10, 10)))).extra == 0


def test_a_referring_answer_that_begins_with_anything_else_is_invalid() -> None:
    question = _question(_truth("left dog", 0, 0, 10, 10), refers_to_one=True)
    good = _answer(("dog", (0, 0, 10, 10)))
    talking = good.model_copy(update={"raw_text": f"well {good.raw_text}"})
    assert not score(question, talking).objects[0].valid


def test_an_image_of_another_size_is_a_fault_of_the_data() -> None:
    small = Truth("dog", (0, 0, 1, 1), mask_to_rle(np.ones((4, 4), np.bool_)))
    with pytest.raises(DataError, match="differ in size"):
        score(_question(small), _answer(("dog", (0, 0, 10, 10))))


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1),
        ((0, 0, 0.5, 1), (0.5, 0, 1, 1), 0),
        ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1), 0),  # both differences negative: the product must not count
        ((0, 0, 0.4, 0.4), (0.6, 0.6, 1, 1), 0),
        ((0, 0, 1, 0.5), (0, 0.25, 1, 0.75), 1 / 3),
    ],
)
def test_box_iou(one: tuple[float, ...], other: tuple[float, ...], iou: float) -> None:
    assert box_iou(one, other) == pytest.approx(iou)  # type: ignore[arg-type]
