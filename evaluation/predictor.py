"""What a predictor is: a function from an example to the result that a client would get."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from evaluation.example import Example
from shared.domain.result import SegmentationResult

Predictor: TypeAlias = Callable[[Example], SegmentationResult]
"""Safe to call from several threads, so that examples share forward passes. Raises `NoPrediction`."""


class NoPrediction(Exception):
    """The example was refused, or its job failed: a repetition would fail too. The message gives the reason."""
