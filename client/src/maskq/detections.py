"""Results for `supervision`, which draws, tracks and counts objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskq.packages import require
from maskq.segments import Segments

if TYPE_CHECKING:
    import supervision


def detections_of(result: Segments, classes: Sequence[str] | None = None) -> supervision.Detections:
    """The objects with boxes, masks, scores and class numbers. The mask of an object without one is empty.

    Args:
        classes: the labels in the order of their numbers. Default: the labels of this result, in the order of its
            objects. An object whose label is not among them is left out.
    """
    sv, np = require("supervision", "supervision"), require("numpy", "supervision")
    numbers = {name: number for number, name in enumerate(classes or dict.fromkeys(each.name for each in result))}
    found = [each for each in result if each.name in numbers]
    if not found:
        return sv.Detections.empty()  # type: ignore[no-any-return]
    nothing = np.zeros((result.height, result.width), bool)
    masks = [each.mask for each in found]
    return sv.Detections(  # type: ignore[no-any-return]
        xyxy=np.array([each.box for each in found], float),
        mask=np.array([nothing if mask is None else mask for mask in masks]),
        confidence=np.array([each.score for each in found]),
        class_id=np.array([numbers[each.name] for each in found]),
        data={"class_name": np.array([each.name for each in found])},
    )
