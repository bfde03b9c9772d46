"""Results as other tools have detections in Python: supervision, which draws, tracks and counts objects, and FiftyOne,
which shows and compares data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskq.packages import require
from maskq.segments import Segment, Segments

if TYPE_CHECKING:
    import fiftyone
    import numpy
    import numpy.typing
    import supervision


def supervision_detections(result: Segments, classes: Sequence[str] | None = None) -> supervision.Detections:
    """The objects with boxes, masks, scores and class numbers. The mask of an object without one is empty.

    Args:
        classes: the labels in the order of their numbers. Default: the labels of this result, in the order of its
            objects. An object whose label is not among them is left out.
    """
    sv, np = require("supervision", "supervision"), require("numpy", "supervision")
    numbers = {
        name: number
        for number, name in enumerate(dict.fromkeys(each.name for each in result) if classes is None else classes)
    }
    found = [each for each in result if each.name in numbers]
    if not found:
        nothing_found = sv.Detections.empty()
        nothing_found.data = {"class_name": np.array([], str)}  # programs read it without asking how many there are
        return nothing_found  # type: ignore[no-any-return]
    nothing = np.zeros((result.height, result.width), bool)
    masks = [each.mask for each in found]
    return sv.Detections(  # type: ignore[no-any-return]
        xyxy=np.array([each.box for each in found], float),
        mask=np.array([nothing if mask is None else mask for mask in masks]),
        confidence=np.array([each.score for each in found]),
        class_id=np.array([numbers[each.name] for each in found]),
        data={"class_name": np.array([each.name for each in found])},
    )


def fiftyone_detections(result: Segments) -> fiftyone.Detections:
    """The objects with labels, boxes, masks and scores. An object without a mask has only a box."""
    labels = require("fiftyone.core.labels", "fiftyone")
    return labels.Detections(
        detections=[
            labels.Detection(
                label=found.name,
                bounding_box=_share_of_image(found, result),
                mask=_mask_in_box(found),
                confidence=found.score,
            )
            for found in result
        ]
    )


def _share_of_image(found: Segment, result: Segments) -> list[float]:
    """The box as [x, y, width, height], each from 0 to 1."""
    x0, y0, x1, y1 = found.box
    width, height = result.width, result.height
    return [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]


def _mask_in_box(found: Segment) -> numpy.typing.NDArray[numpy.bool_] | None:
    """The mask of the pixels in the box, as a copy, so that the whole mask is not kept in memory."""
    x0, y0, x1, y1 = found.box
    mask = found.mask
    return None if mask is None else mask[y0:y1, x0:x1].copy()
