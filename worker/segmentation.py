"""What a pipeline hands back. On its own, so that a worker's service needs none of the model's libraries."""

from __future__ import annotations

from dataclasses import dataclass

from shared.result import SegmentationResult


@dataclass(frozen=True)
class Segmentation:
    """A result, and how the engine came to it."""

    result: SegmentationResult
    model_s: float
    batch_size: int
