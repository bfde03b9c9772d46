"""From a box and a soft mask to a mask in the pixels of the uploaded image, in the formats that the client requested.

The protocol is that of big_vision (`evaluators/proj/paligemma/transfers/segmentation.py`): location 1023 is the far
edge of the image; the soft mask is resized bilinearly to the box first, and compared with 0 afterwards.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from PIL import Image

from shared.domain.job import MaskFormat
from shared.domain.paligemma import to_coordinate
from shared.domain.result import Mask, PngMask, Polygon, PolygonMask, Ring, RleMask, SegmentedObject
from worker.stages.parse import Detection
from worker.stages.run_lengths import BoxXyxy, runs_to_counts, soft_mask_runs

_Outlines = tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.uint32]]]
"""Corners of each connected region, and the offsets of its outlines among them (`FillType.OuterOffset`)."""


@dataclass(frozen=True)
class PixelMask:
    """A mask in an image of `width` x `height` pixels. The pixels are computed only if a format needs them."""

    soft: npt.NDArray[np.float32]
    """float32[64, 64] in [-1, 1], to be resized to `box`. Values above 0 are inside."""
    box: BoxXyxy
    """x0, y0, x1, y1 in pixels, x1 and y1 exclusive, within the image."""
    width: int
    height: int

    @cached_property
    def runs(self) -> npt.NDArray[np.int64]:
        """int64[N]: run lengths of the whole image, column by column: outside, inside, outside and so on."""
        return soft_mask_runs(self.soft, self.box, self.width, self.height)

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return int(self.runs[1::2].sum())

    @cached_property
    def full(self) -> npt.NDArray[np.bool_]:
        """bool[height, width], expanded from the runs: ten times as fast as resizing the soft mask."""
        is_inside = np.arange(len(self.runs)) % 2 == 1
        return np.ascontiguousarray(np.repeat(is_inside, self.runs).reshape(self.width, self.height).T)


def locations_yxyx_to_pixels_xyxy(box_yxyx: Sequence[int], width: int, height: int) -> BoxXyxy:
    """Locations, 0..1023, to whole pixels. A box smaller than a pixel becomes one pixel."""
    y0, y1 = _to_pixels(box_yxyx[0], box_yxyx[2], height)
    x0, x1 = _to_pixels(box_yxyx[1], box_yxyx[3], width)
    return x0, y0, x1, y1


def _to_pixels(start: int, end: int, side: int) -> tuple[int, int]:
    first = min(round(to_coordinate(start) * side), side - 1)
    return first, max(round(to_coordinate(end) * side), first + 1)


def render_object(
    detection: Detection, soft: npt.NDArray[np.float32] | None, width: int, height: int, formats: Sequence[MaskFormat]
) -> SegmentedObject:
    """One detection as clients get it: masks in `formats` and, always, as run lengths."""
    box = locations_yxyx_to_pixels_xyxy(detection.box_yxyx, width, height)
    pixels = None if soft is None else PixelMask(soft, box, width, height)
    names = dict.fromkeys([*formats, MaskFormat.RLE])
    first, *others = [write_mask(pixels, name) for name in names] if pixels else [None]
    return SegmentedObject(
        label=detection.label,
        score=detection.score,
        box=box,
        area=pixels.area if pixels else 0,
        mask=first,
        alternate_masks=[mask for mask in others if mask],
    )


def write_mask(mask: PixelMask, name: MaskFormat) -> Mask:
    """A mask in one of the formats that clients can request."""
    return _WRITERS[name](mask)


def to_rle(mask: PixelMask) -> RleMask:
    """COCO run lengths of the whole image."""
    return RleMask(size=(mask.height, mask.width), counts=runs_to_counts(mask.runs))


def to_polygon(mask: PixelMask) -> PolygonMask:
    """Outlines, half a pixel around the centres of the pixels inside, with holes: drawn again they give the same
    mask."""
    x0, y0, x1, y1 = mask.box
    padded = np.pad(mask.full[y0:y1, x0:x1], 1).astype(np.float32)
    outlines, offsets = cast(_Outlines, contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, 1.5))
    polygons = []
    for points, starts in zip(outlines, offsets, strict=True):
        corners = points + (x0 - 0.5, y0 - 0.5)  # sample (1, 1) of the padded window is the centre of pixel (x0, y0)
        exterior, *holes = [_without_straight_points(corners[a : b - 1]) for a, b in pairwise(starts)]
        polygons.append(Polygon(exterior=exterior, holes=holes))
    return PolygonMask(polygons=polygons)


def _without_straight_points(corners: npt.NDArray[np.float64]) -> Ring:
    """Remove the corners that lie on a straight line between their neighbours."""
    before, after = corners - np.roll(corners, 1, 0), np.roll(corners, -1, 0) - corners
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return [(float(x), float(y)) for x, y in corners[turns]]


def to_png(mask: PixelMask) -> PngMask:
    """A 1-bit PNG of the image's size."""
    return _png(MaskFormat.PNG, Image.fromarray(mask.full))


def to_crop(mask: PixelMask) -> PngMask:
    """The soft mask as an 8-bit PNG: -1 becomes 0, 1 becomes 255, and the mask's edge is at 127.5."""
    return _png(MaskFormat.CROP, Image.fromarray(np.round((mask.soft + 1) * 127.5).astype(np.uint8)))


def _png(name: MaskFormat, image: Image.Image) -> PngMask:
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return PngMask.model_validate({"format": name, "size": (image.height, image.width), "data": data})


_WRITERS: dict[MaskFormat, Callable[[PixelMask], Mask]] = {
    MaskFormat.RLE: to_rle,
    MaskFormat.POLYGON: to_polygon,
    MaskFormat.PNG: to_png,
    MaskFormat.CROP: to_crop,
}
