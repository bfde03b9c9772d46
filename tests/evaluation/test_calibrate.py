"""The calibration of scores that are too high, on made-up objects whose share of right ones is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.calibrate import calibrate
from evaluation.example import DataError, Example, TrueObject, mask_to_rle
from evaluation.predictions import Prediction
from shared.domain.result import RleMask
from testing.factories import segmentation_result, segmented_object
from worker.stages.calibration import load_calibration

_SIDE = 4
_FULL = mask_to_rle(np.ones((_SIDE, _SIDE), np.bool_))


def _made_up(count: int, share_of_right: float) -> tuple[list[Example], dict[str, Prediction]]:
    """Objects with scores from 0.5 to 1, of which this share is right; the others are in nothing's place."""
    random = np.random.default_rng(0)
    mask = RleMask(size=(_SIDE, _SIDE), counts=_FULL["counts"].decode())
    examples, predictions = [], {}
    for number in range(count):
        truths = [TrueObject("cat", (0, 0, 1, 1), _FULL)] if random.random() < share_of_right else []
        found = segmented_object(mask=mask, box=(0, 0, _SIDE, _SIDE), raw_score=random.uniform(0.5, 1))
        result = segmentation_result(found, width=_SIDE, height=_SIDE)
        examples.append(Example(str(number), "cat", lambda: b"", truths))
        predictions[str(number)] = Prediction(id=str(number), prompt="cat", result=result)
    return examples, predictions


def test_scores_that_are_too_high_become_the_share_of_right_objects(tmp_path: Path) -> None:
    judged = calibrate(*_made_up(2_000, 0.4), "made up", tmp_path)
    curve = load_calibration(tmp_path)
    assert curve is not None
    assert all(curve.probability(score) == pytest.approx(0.4, abs=0.12) for score in (0.6, 0.75, 0.9))
    assert judged["error_before"] > 0.3 > 0.06 > judged["error_after"]
    assert judged["brier_after"] < judged["brier_before"]
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.size == (900, 450)


@pytest.mark.parametrize(("count", "share"), [(60, 0.5), (400, 1.1), (400, -0.1)])
def test_too_few_objects_or_only_right_ones_make_no_curve(tmp_path: Path, count: int, share: float) -> None:
    with pytest.raises(DataError, match="right ones and wrong ones"):
        calibrate(*_made_up(count, share), "made up", tmp_path)
