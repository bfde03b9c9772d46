"""What the formats share: numbers for labels, and what else a result says."""

from __future__ import annotations

from typing import Any

from shared.domain.result import SegmentationResult


def numbered_labels(result: SegmentationResult, first: int) -> dict[str, int]:
    """The labels of a result, numbered from `first` in the order of their first object."""
    labels = dict.fromkeys(found.name for found in result.objects)
    return {label: number for number, label in enumerate(labels, first)}


def rest_of(result: SegmentationResult) -> dict[str, Any]:
    """What a document says beside its objects: whether some may be missing, and what the model wrote that is none."""
    return {"truncated": result.truncated, "skipped": [each.model_dump() for each in result.skipped]}
