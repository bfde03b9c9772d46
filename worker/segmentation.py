"""What a pipeline hands back. On its own, so that a worker's service needs none of the model's libraries."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.result import SegmentationResult


@dataclass(frozen=True)
class Segmentation:
    """A result, and how the engine came to it."""

    result: SegmentationResult
    model_s: float
    """Seconds inside the engine: waiting for a place in a batch, prefill and decode."""
    batch_size: int
    preprocess_s: float = 0.0
    """Seconds until the engine had it: decoding the image, resizing, tokenizing."""
    render_s: float = 0.0
    """Seconds after that: reading the answer, decoding and drawing masks."""
