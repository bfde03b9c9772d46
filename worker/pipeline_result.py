"""The value that a pipeline returns for one job. In a module of its own, so that using it needs no model library."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.result import SegmentationResult


@dataclass(frozen=True)
class PipelineResult:
    """A result for the client, and how long each part of the work took."""

    result: SegmentationResult
    model_s: float
    """Seconds inside the engine: waiting for a slot, prefill and decode."""
    batch_size: int
    """Largest number of jobs in one forward pass with this job, including it."""
    preprocess_s: float = 0.0
    """Seconds before the engine: decoding and resizing the image, tokenizing the prompt."""
    render_s: float = 0.0
    """Seconds after the engine: parsing the answer, decoding and rendering masks."""
