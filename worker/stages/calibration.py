"""From the model's own score of an object to the probability that the object is right.

A calibration is a logistic curve, fitted on held-out pictures by `scripts/evaluate ... --calibrate`. It belongs to one
checkpoint: `calibration.json` beside its weights.
"""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from shared.errors import CheckpointError

CALIBRATION_FILE = "calibration.json"
_SMALLEST = 1e-6
"""Scores are kept this far from 0 and 1, where their log-odds are infinite."""


class Calibration(BaseModel):
    """probability = logistic(intercept + slope * log-odds of the model's score)."""

    model_config = ConfigDict(frozen=True)

    about: str
    """The pictures that it was fitted on, and what counts as right."""
    intercept: FiniteFloat
    slope: FiniteFloat

    def probability(self, raw_score: float) -> float:
        """0..1 -> 0..1."""
        odds = self.intercept + self.slope * log_odds(raw_score)
        return (1 + math.tanh(odds / 2)) / 2  # the logistic function, without overflow


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), finite also for 0 and 1."""
    inside = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return math.log(inside / (1 - inside))


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration of the checkpoint in this folder, if it has one.

    Raises:
        CheckpointError: the file is not a calibration.
    """
    path = folder / CALIBRATION_FILE
    try:
        return Calibration.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError):
        raise CheckpointError(f"{path} is not a calibration: delete it, or make it again (docs/answers.md)") from None
