"""A prediction for Label Studio (labelstud.io/guide/predictions), with a brush label for each mask."""

from __future__ import annotations

from typing import Any

from api.drawing.mask_image import row_runs
from api.formats.labels import rest_of
from shared.domain.brush import BrushRegion, ControlTags
from shared.domain.job import Job
from shared.domain.result import RleMask, SegmentationResult


def labelstudio_document(job: Job, result: SegmentationResult, tags: ControlTags) -> dict[str, Any]:
    """One prediction, for the task of the image. Objects without masks are not in `result` but in `skipped`."""
    rest = rest_of(result)
    rest["skipped"] += [{"reason": "no_mask", "text": found.label} for found in result.objects if not found.rle]
    masks = [(found, found.rle, number) for number, found in enumerate(result.objects) if found.rle]
    scores = [found.score for found, _, _ in masks]
    return {
        "model_version": job.request.model_id,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "result": [
            _region(mask).named(job.region_id(number), found.name, found.score, tags).model_dump()
            for found, mask, number in masks
        ],
        **rest,
    }


def _region(mask: RleMask) -> BrushRegion:
    height, width = mask.size
    return BrushRegion.of(row_runs(mask), width, height)
