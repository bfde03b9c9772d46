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

from api.formats.labels import rest_of
from api.formats.outlines import outlines
from shared import VERSION
from shared.domain.job import Job
from shared.domain.result import RleMask, SegmentationResult, SegmentedObject


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


class CocoDataset:
    """Numbers the images, annotations and categories of results from 1, in the order in which they come (in COCO 0 is
    the background). A label has the same category in all images. Annotations are not kept."""

    def __init__(self, segmentation: Callable[[RleMask], Any] = _run_lengths) -> None:
        """`segmentation` writes one mask."""
        self._segmentation = segmentation
        self._prompts: set[str] = set()
        self._models: dict[str, None] = {}
        self._newest_ms = 0
        self._categories: dict[str, int] = {}
        self.images: list[dict[str, Any]] = []
        """Those of all results so far."""
        self.annotation_count = 0
        """Number of the last annotation."""

    def add(self, job: Job, result: SegmentationResult) -> list[dict[str, Any]]:
        """Add the image of a result. Returns its annotations. One for an object without a mask has an empty
        `segmentation`. May take some seconds for large masks."""
        self._prompts.add(job.request.prompt)
        self._models[job.request.model_id] = None
        self._newest_ms = max(self._newest_ms, job.created_at_ms)
        image_id = len(self.images) + 1
        self.images.append(_image(job, result, image_id))
        return [self._annotation(found, image_id) for found in result.objects]

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Those of all results so far."""
        return [{"id": number, "name": label, "supercategory": ""} for label, number in self._categories.items()]

    @property
    def info(self) -> dict[str, Any]:
        """Where the data set is from. Its date is that of the newest job, and 1970 without any."""
        prompts = list(self._prompts)
        created = datetime.fromtimestamp(self._newest_ms / 1000, UTC)
        return {
            "description": prompts[0] if len(prompts) == 1 else f"answers to {len(prompts)} prompts",
            "url": "",
            "version": VERSION,
            "year": created.year,
            "contributor": ", ".join(["maskq", *self._models]),
            "date_created": created.isoformat(timespec="seconds"),
        }

    def _annotation(self, found: SegmentedObject, image_id: int) -> dict[str, Any]:
        self.annotation_count += 1
        x0, y0, x1, y1 = found.box
        return {
            "id": self.annotation_count,
            "image_id": image_id,
            "category_id": self._categories.setdefault(found.name, len(self._categories) + 1),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": found.area if found.rle else (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
            "score": found.score,
            "segmentation": self._segmentation(found.rle) if found.rle else [],
        }


def _document(job: Job, result: SegmentationResult, segmentation: Callable[[RleMask], Any]) -> dict[str, Any]:
    data = CocoDataset(segmentation)
    annotations = data.add(job, result)
    return {
        "info": data.info,
        "licenses": [],
        "images": data.images,
        "categories": data.categories,
        "annotations": annotations,
        **rest_of(result),
    }


def _image(job: Job, result: SegmentationResult, image_id: int) -> dict[str, Any]:
    """The image under the name of its file; without one, the id of the job is its name. `ref` only if the job has one:
    tools expect no null."""
    name = job.request.file_name or job.id
    size = {"width": result.image.width, "height": result.image.height}
    return {"id": image_id, "file_name": name, **size, "job_id": job.id, **job_ref(job)}


def job_ref(job: Job) -> dict[str, str]:
    """The caller's name for the job, if it has one."""
    return {"ref": job.request.ref} if job.request.ref else {}
