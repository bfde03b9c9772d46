"""Fits the calibration of a checkpoint to a finished evaluation, and shows how well scores and results agree.

An object is right if its IoU with the true object that it is matched to is at least 0.5. Extra objects are wrong, among
them everything that is found for a prompt about something absent. The curve is fitted to every second example, and
judged by the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from evaluation.example import DataError, Example
from evaluation.predictions import Prediction
from evaluation.reliability import draw_reliability, expected_error
from evaluation.scoring import right_objects
from worker.stages.calibration import CALIBRATION_FILE, Calibration, log_odds

RIGHT_IOU = 0.5
_LEAST = 50
"""Fewest objects of which a curve is made."""

_Floats: TypeAlias = npt.NDArray[np.float64]


def calibrate(
    examples: Sequence[Example], predictions: Mapping[str, Prediction], about: str, folder: Path
) -> dict[str, float]:
    """Fit a curve, and write it and a picture of it to `folder`. Returns the numbers that judge it.

    Raises:
        DataError: there are too few objects, or all of them are right or wrong.
    """
    fit_scores, fit_right = _outcomes(examples[::2], predictions)
    scores, right = _outcomes(examples[1::2], predictions)
    if min(len(fit_scores), len(scores)) < _LEAST or len(set(fit_right)) < 2:
        raise DataError(f"a calibration needs at least {2 * _LEAST} objects, right ones and wrong ones")
    intercept, slope = _fit(fit_scores, fit_right)
    curve = Calibration(
        about=f"{about}; right: an IoU of at least {RIGHT_IOU}", intercept=round(intercept, 4), slope=round(slope, 4)
    )
    calibrated = np.array([curve.probability(score) for score in scores])
    (folder / CALIBRATION_FILE).write_text(curve.model_dump_json(indent=2) + "\n", "utf-8")
    draw_reliability({"score of the model": scores, "calibrated score": calibrated}, right, folder / "reliability.png")
    return {
        "objects_fitted": len(fit_scores),
        "objects_judged": len(scores),
        "right": round(float(right.mean()), 4),
        "error_before": round(expected_error(scores, right), 4),
        "error_after": round(expected_error(calibrated, right), 4),
        "brier_before": round(float(np.mean((scores - right) ** 2)), 4),
        "brier_after": round(float(np.mean((calibrated - right) ** 2)), 4),
    }


def _outcomes(examples: Sequence[Example], predictions: Mapping[str, Prediction]) -> tuple[_Floats, _Floats]:
    """Of all predicted objects: the score of the model, and 1 if it is right, else 0."""
    pairs = [
        (found.raw_score or 0.0, float(is_right))
        for example in examples
        if (result := predictions[example.id].result)
        for found, is_right in zip(result.objects, right_objects(example, result, RIGHT_IOU), strict=True)
    ]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _fit(scores: _Floats, right: _Floats) -> tuple[float, float]:
    """Intercept and slope of the most probable logistic curve. A weak pull to a slope of 1 keeps it finite."""
    odds = np.array([log_odds(score) for score in scores])

    def loss(parameters: _Floats) -> float:
        z = parameters[0] + parameters[1] * odds
        return float(np.sum(np.logaddexp(0, z) - right * z) + 0.01 * (parameters[1] - 1) ** 2)

    intercept, slope = minimize(loss, np.array([0.0, 1.0])).x
    return float(intercept), float(slope)
