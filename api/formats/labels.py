"""Numbers for labels, for formats that number their classes."""

from __future__ import annotations

from shared.domain.result import SegmentationResult


def numbered_labels(result: SegmentationResult, first: int) -> dict[str, int]:
    """The labels of a result, numbered from `first` in the order of their first object."""
    labels = dict.fromkeys(found.name for found in result.objects)
    return {label: number for number, label in enumerate(labels, first)}
