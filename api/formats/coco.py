"""COCO's data format for object detection (cocodataset.org/#format-data), with masks as compressed run lengths or as
polygons.

`pycocotools` and tools built on it read the document as a data set, and its annotations as results (`COCO.loadRes`).
FiftyOne, supervision and Datumaro read it too. They ignore `truncated` and `skipped`, which are not COCO's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from api.formats.labels import numbered_labels, rest_of
from api.formats.outlines import outlines
from shared import VERSION
from shared.domain.job import Job
from shared.domain.result import RleMask, SegmentationResult, SegmentedObject

_IMAGE_ID = 1


def coco_document(job: Job, result: SegmentationResult) -> dict[str, Any]:
    """A data set of one image. Masks are run lengths. An object without a mask has an empty `segmentation`."""
    return _document(job, result, _run_lengths)


def coco_polygon_document(job: Job, result: SegmentationResult) -> dict[str, Any]:
    """The same with masks as polygons, for tools that edit them. They cover the same pixels."""
    return _document(job, result, _polygons)


def _run_lengths(mask: RleMask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}


def _polygons(mask: RleMask) -> list[list[int]]:
    return [list(chain.from_iterable(loop)) for loop in outlines(mask)]


def _document(job: Job, result: SegmentationResult, segmentation: Callable[[RleMask], Any]) -> dict[str, Any]:
    categories = numbered_labels(result, first=1)  # in COCO 0 is the background
    return {
        "info": _info(job),
        "licenses": [],
        "images": [_image(job, result)],
        "categories": [{"id": number, "name": label, "supercategory": ""} for label, number in categories.items()],
        "annotations": [
            {
                **_annotation(found, number, categories[found.name]),
                "segmentation": segmentation(found.rle) if found.rle else [],
            }
            for number, found in enumerate(result.objects, 1)
        ],
        **rest_of(result),
    }


def _info(job: Job) -> dict[str, Any]:
    created = datetime.fromtimestamp(job.created_at_ms / 1000, UTC)
    return {
        "description": job.request.prompt,
        "url": "",
        "version": VERSION,
        "year": created.year,
        "contributor": f"maskq, {job.request.model_id}",
        "date_created": created.isoformat(timespec="seconds"),
    }


def _image(job: Job, result: SegmentationResult) -> dict[str, Any]:
    """The image under the name of its file; without one, the id of the job is its name."""
    name = job.request.file_name or job.id
    return {"id": _IMAGE_ID, "file_name": name, "width": result.image.width, "height": result.image.height}


def _annotation(found: SegmentedObject, number: int, category: int) -> dict[str, Any]:
    x0, y0, x1, y1 = found.box
    return {
        "id": number,
        "image_id": _IMAGE_ID,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": found.area if found.rle else (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "score": found.score,
    }
