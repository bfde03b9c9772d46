"""Scores follow the protocol: one test for each rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evaluation.example import Box, DataError, Example, Rle, TrueObject, mask_to_rle
from evaluation.metrics import compute_metrics
from evaluation.scoring import box_iou, score
from shared.domain.result import ImageSize, RleMask, SegmentationResult, SegmentedObject

_SIDE = 1023
"""Image side in pixels, so that a location is a pixel."""
_CODES = "<seg000>" * 16


def _square(y0: int, x0: int, y1: int, x1: int) -> Rle:
    mask = np.zeros((_SIDE, _SIDE), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask_to_rle(mask)


def _truth(label: str, *box: int) -> TrueObject:
    y0, x0, y1, x1 = box
    return TrueObject(label, (y0 / _SIDE, x0 / _SIDE, y1 / _SIDE, x1 / _SIDE), _square(*box))


def _result(*objects: tuple[str, tuple[int, int, int, int]], text: str | None = None) -> SegmentationResult:
    """A prediction whose masks fill their boxes."""
    found = [
        SegmentedObject(
            label=label, score=1, box=(box[1], box[0], box[3], box[2]), area=1,
            mask=RleMask(size=(_SIDE, _SIDE), counts=_square(*box)["counts"].decode()),
        )
        for label, box in objects
    ]  # fmt: skip
    written = " ; ".join("".join(f"<loc{v:04d}>" for v in box) + _CODES + f" {label}" for label, box in objects)
    size = ImageSize(width=_SIDE, height=_SIDE)
    raw_text = written if text is None else text
    return SegmentationResult(image=size, objects=found, skipped=[], truncated=False, raw_text=raw_text)


def _example(*truths: TrueObject, refers_to_one: bool = False) -> Example:
    return Example("q", "dog", lambda: b"", truths, refers_to_one)


def _ious(example: Example, result: SegmentationResult | None) -> Sequence[float]:
    return [round(each.iou, 3) for each in score(example, result).objects]


def test_an_equal_mask_has_an_iou_of_1() -> None:
    scored = score(_example(_truth("dog", 0, 0, 100, 100)), _result(("dog", (0, 0, 100, 100))))
    (found,) = scored.objects
    assert (found.valid, found.iou, found.box_iou, found.box_error, scored.extra) == (True, 1, 1, 0, 0)


def test_half_of_a_mask_has_half_the_iou_and_a_box_is_correct_from_an_iou_of_a_half() -> None:
    scored = score(_example(_truth("dog", 0, 0, 100, 100)), _result(("dog", (0, 0, 51, 100))))
    assert (scored.objects[0].iou, scored.objects[0].box_iou) == pytest.approx((0.51, 0.51))
    metrics = compute_metrics([scored], failed=0)
    assert (metrics["box_accuracy_50"], metrics["box_accuracy_75"]) == (1, 0)
    assert (metrics["invalid"], metrics["total"]) == (0, 1)


def test_objects_are_matched_so_that_the_sum_of_ious_is_largest() -> None:
    example = _example(_truth("dog", 0, 0, 100, 100), _truth("dog", 0, 50, 100, 150))
    greedy_choice = ("dog", (0, 40, 100, 140))
    result = _result(greedy_choice, ("dog", (0, 500, 100, 600)))
    assert sum(_ious(example, result)) == pytest.approx(90 / 110, abs=1e-3)
    swapped = _result(("dog", (0, 50, 100, 150)), ("dog", (0, 0, 100, 100)))
    assert _ious(example, swapped) == [1, 1]


def test_a_missing_object_is_invalid_and_a_surplus_object_is_extra() -> None:
    both = _example(_truth("dog", 0, 0, 10, 10), _truth("cat", 20, 20, 30, 30))
    missing = score(both, _result(("dog", (0, 0, 10, 10))))
    assert [each.valid for each in missing.objects] == [True, False]
    surplus = score(both, _result(("dog", (0, 0, 10, 10)), ("cat", (20, 20, 30, 30)), ("dog", (50, 50, 60, 60))))
    assert surplus.extra == 1
    assert compute_metrics([missing], 0)["miou"] == 0.5
    assert compute_metrics([missing], 0)["invalid"] == 1


def test_objects_with_different_labels_are_never_matched() -> None:
    assert _ious(_example(_truth("dog", 0, 0, 10, 10)), _result(("cat", (0, 0, 10, 10)))) == [0]
    assert _ious(_example(_truth("Dog", 0, 0, 10, 10)), _result(("dog", (0, 0, 10, 10)))) == [1]


def test_a_failed_prediction_is_invalid() -> None:
    assert _ious(_example(_truth("dog", 0, 0, 10, 10)), None) == [0]


def test_an_empty_prediction_is_correct_for_an_empty_ground_truth() -> None:
    empty, wrong = score(_example(), _result()), score(_example(), _result(("dog", (0, 0, 10, 10))))
    metrics = compute_metrics([empty, wrong], failed=0)
    assert (metrics["absent"], metrics["absent_accuracy"], metrics["total"]) == (2, 0.5, 0)
    assert "miou" not in metrics


def test_for_a_referring_expression_only_the_first_object_counts_whatever_its_label() -> None:
    example = _example(_truth("left dog", 0, 0, 10, 10), refers_to_one=True)
    assert _ious(example, _result(("", (0, 0, 10, 10)), ("dog", (90, 90, 99, 99)))) == [1]
    assert _ious(example, _result(("dog", (90, 90, 99, 99)), ("left dog", (0, 0, 10, 10)))) == [0]
    assert score(example, _result(("a", (0, 0, 10, 10)), ("b", (0, 0, 10, 10)))).extra == 0


def test_for_a_referring_expression_an_answer_that_starts_with_other_text_is_invalid() -> None:
    example = _example(_truth("left dog", 0, 0, 10, 10), refers_to_one=True)
    valid = _result(("dog", (0, 0, 10, 10)))
    chatty = valid.model_copy(update={"raw_text": f"well {valid.raw_text}"})
    assert not score(example, chatty).objects[0].valid


def test_an_image_that_differs_in_size_from_its_annotation_is_an_error() -> None:
    small = TrueObject("dog", (0, 0, 1, 1), mask_to_rle(np.ones((4, 4), np.bool_)))
    with pytest.raises(DataError, match="differ in size"):
        score(_example(small), _result(("dog", (0, 0, 10, 10))))


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1),
        ((0, 0, 0.5, 1), (0.5, 0, 1, 1), 0),
        ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1), 0),  # both differences are negative: their product is no area
        ((0, 0, 0.4, 0.4), (0.6, 0.6, 1, 1), 0),
        ((0, 0, 1, 0.5), (0, 0.25, 1, 0.75), 1 / 3),
    ],
)
def test_box_iou(one: Box, other: Box, iou: float) -> None:
    assert box_iou(one, other) == pytest.approx(iou)
