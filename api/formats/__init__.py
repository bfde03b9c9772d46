"""Results in the formats of other tools. One module per tool; each makes one JSON document of a whole result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from api.formats.coco import coco_document, coco_polygon_document
from api.formats.labelstudio import labelstudio_document
from api.formats.roboflow import roboflow_document
from shared.domain.brush import ControlTags
from shared.domain.job import Job
from shared.domain.result import SegmentationResult
from shared.errors import InvalidField

Document = dict[str, Any]
_TEMPLATE_TAGS = ControlTags()


class ResultFormat(StrEnum):
    """The formats of a result document."""

    MASKQ = "maskq"
    """As in the job, with masks in the formats that the request named."""
    COCO = "coco"
    """A data set of one image, for `pycocotools.coco.COCO`, with masks as run lengths."""
    COCO_POLYGON = "coco-polygon"
    """The same with masks as polygons."""
    ROBOFLOW = "roboflow"
    """The answer of Roboflow's servers, for `supervision.Detections.from_inference`."""
    LABELSTUDIO = "labelstudio"
    """A prediction with brush labels, to import into Label Studio."""


def document_of(
    job: Job, result: SegmentationResult, name: ResultFormat, tags: ControlTags = _TEMPLATE_TAGS
) -> Document:
    """The whole result as one document. May take some seconds for large masks. `tags` are for Label Studio.

    Raises:
        InvalidField: the masks have too many details for this format, which is written run by run.
    """
    size = sum(len(found.rle.counts) for found in result.objects if found.rle)
    if name in _RUN_BY_RUN and size > _MAX_COUNTS_CHARS:
        raise InvalidField(f"format: the masks have too many details for {name}; {ResultFormat.COCO} has any number")
    return labelstudio_document(job, result, tags) if name == ResultFormat.LABELSTUDIO else _WRITERS[name](job, result)


def _maskq_document(job: Job, result: SegmentationResult) -> Document:
    return result.of_job(job).model_dump(mode="json")


_RUN_BY_RUN = frozenset({ResultFormat.COCO_POLYGON, ResultFormat.LABELSTUDIO})
_MAX_COUNTS_CHARS = 200_000
"""Of all masks, as run lengths: some 100,000 runs, 20 masks of 25 megapixels. Writing them takes 5 s or more."""
_WRITERS: Mapping[ResultFormat, Callable[[Job, SegmentationResult], Document]] = {
    ResultFormat.MASKQ: _maskq_document,
    ResultFormat.COCO: coco_document,
    ResultFormat.COCO_POLYGON: coco_polygon_document,
    ResultFormat.ROBOFLOW: roboflow_document,
}
