"""The answer of Roboflow's inference server for instance segmentation, in its variant with COCO run lengths.

The variant is that of `response_mask_format=rle` (roboflow/inference, v1.2.4). The older variant, `points`, can only
write one outline without holes. `supervision.Detections.from_inference` reads both. If one object has no mask, it drops
the masks of all.
"""

from __future__ import annotations

from typing import Any

from api.formats.labels import numbered_labels, rest_of
from shared.domain.job import Job
from shared.domain.result import SegmentationResult, SegmentedObject


def roboflow_document(job: Job, result: SegmentationResult) -> dict[str, Any]:
    """The answer of an inference, with ids made from the id of the job."""
    classes = numbered_labels(result, first=0)
    return {
        "inference_id": job.id,
        "image": {"width": result.image.width, "height": result.image.height},
        "predictions": [
            {"detection_id": f"{job.id}-{number}", **_prediction(found, classes[found.name])}
            for number, found in enumerate(result.objects)
        ],
        **rest_of(result),
    }


def _prediction(found: SegmentedObject, class_id: int) -> dict[str, Any]:
    """One object. `x` and `y` are the centre of its box, in pixels."""
    x0, y0, x1, y1 = found.box
    mask = found.rle
    return {
        "x": (x0 + x1) / 2,
        "y": (y0 + y1) / 2,
        "width": x1 - x0,
        "height": y1 - y0,
        "confidence": found.score,
        "class": found.name,
        "class_id": class_id,
        **({"mask_format": "rle", "rle": {"size": list(mask.size), "counts": mask.counts}} if mask else {}),
    }
