"""COCO's data format for object detection (cocodataset.org/#format-data), with masks as compressed run lengths.

`pycocotools` and tools built on it read the document as a data set, and its annotations as results (`COCO.loadRes`).
"""

from __future__ import annotations

from typing import Any

from api.formats.labels import numbered_labels
from shared.domain.job import Job
from shared.domain.result import SegmentationResult, SegmentedObject

_IMAGE_ID = 1


def coco_document(job: Job, result: SegmentationResult) -> dict[str, Any]:
    """A data set of one image, named after its job. An object without a mask has no `segmentation`."""
    categories = numbered_labels(result, first=1)  # in COCO 0 is the background
    image = {"id": _IMAGE_ID, "file_name": job.id, "width": result.image.width, "height": result.image.height}
    return {
        "images": [image],
        "categories": [{"id": number, "name": label} for label, number in categories.items()],
        "annotations": [
            _annotation(found, number, categories[found.name]) for number, found in enumerate(result.objects, 1)
        ],
    }


def _annotation(found: SegmentedObject, number: int, category: int) -> dict[str, Any]:
    x0, y0, x1, y1 = found.box
    mask = found.rle
    return {
        "id": number,
        "image_id": _IMAGE_ID,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": found.area if mask else (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "score": found.score,
        **({"segmentation": {"size": list(mask.size), "counts": mask.counts}} if mask else {}),
    }
