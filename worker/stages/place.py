"""From what the model wrote about a view (the whole picture or a tile) to the pixels of the uploaded image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.paligemma import to_coordinate
from shared.domain.tiles import BoxXyxy
from worker.stages.lazy import lazy
from worker.stages.parse import Detection
from worker.stages.pixel_mask import AnyMask, PixelMask
from worker.stages.run_sets import box_runs


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object in an image of `width` x `height` pixels."""

    label: str | None
    score: float
    """0..1, as clients get it."""
    raw_score: float
    box: BoxXyxy
    """x0, y0, x1, y1 in pixels of the image, x1 and y1 exclusive."""
    mask: AnyMask | None
    """None if the model wrote only a box."""
    view: BoxXyxy
    """The part of the image in which the model saw it."""
    width: int
    height: int
    merged: int = 0
    """Number of further detections that are this object."""

    @lazy
    def runs(self) -> npt.NDArray[np.int64]:
        """Run lengths of its mask, or of its box if it has none."""
        return self.mask.runs if self.mask else box_runs(self.box, self.width, self.height)


def place(
    detection: Detection,
    soft: npt.NDArray[np.float32] | None,
    size: tuple[int, int],
    view: BoxXyxy | None = None,
    score: float | None = None,
) -> FoundObject:
    """A detection in the pixels of the image. `soft` is its soft mask, `size` the width and height of the image, `view`
    what the model saw (default: all of it), and `score` its calibrated score, if there is one."""
    width, height = size
    left, top, right, bottom = view = view or (0, 0, width, height)
    x0, y0, x1, y1 = locations_yxyx_to_pixels_xyxy(detection.box_yxyx, right - left, bottom - top)
    box = (x0 + left, y0 + top, x1 + left, y1 + top)
    mask = None if soft is None else PixelMask(soft, box, width, height)
    raw_score = detection.score
    score = raw_score if score is None else score
    return FoundObject(detection.label, score, raw_score, box, mask, view, width, height)


def locations_yxyx_to_pixels_xyxy(box_yxyx: Sequence[int], width: int, height: int) -> BoxXyxy:
    """Locations, 0..1023, to whole pixels. A box smaller than a pixel becomes one pixel."""
    y0, y1 = _to_pixels(box_yxyx[0], box_yxyx[2], height)
    x0, x1 = _to_pixels(box_yxyx[1], box_yxyx[3], width)
    return x0, y0, x1, y1


def _to_pixels(start: int, end: int, side: int) -> tuple[int, int]:
    first = min(round(to_coordinate(start) * side), side - 1)
    return first, max(round(to_coordinate(end) * side), first + 1)
