"""What a predictor is: a function from an example to the result that a client would get."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from evaluation.example import Example
from shared.domain.job import Duplicates
from shared.domain.result import SegmentationResult
from shared.domain.tiles import AUTO, NONE

Predictor: TypeAlias = Callable[[Example], SegmentationResult]
"""Safe to call from several threads, so that examples share forward passes. Raises `NoPrediction`."""


def options_for(example: Example, tiles: str = AUTO) -> dict[str, str]:
    """The options of a request. The authors' protocol for referring expressions scores the answer as it is written."""
    return {"tiles": NONE, "duplicates": Duplicates.KEEP} if example.refers_to_one else {"tiles": tiles}


class NoPrediction(Exception):
    """The example was refused, or its job failed: a repetition would fail too. The message gives the reason."""
