"""From a mask in the pixels of the uploaded image to the formats that the client requested.

The protocol is that of big_vision (`evaluators/proj/paligemma/transfers/segmentation.py`): location 1023 is the far
edge of the image; the soft mask is resized bilinearly to the box first, and compared with 0 afterwards.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from PIL import Image

from shared.domain.brush import BrushRegion
from shared.domain.job import MaskFormat
from shared.domain.result import BrushMask, Mask, PngMask, Polygon, PolygonMask, Ring, RleMask, SegmentedObject
from worker.stages.pixel_mask import AnyMask
from worker.stages.place import FoundObject
from worker.stages.run_lengths import edges_to_runs, runs_to_counts, steps_of

_Outlines = tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.uint32]]]
"""Corners of each connected region, and the offsets of its outlines among them (`FillType.OuterOffset`)."""


def render_object(found: FoundObject, formats: Sequence[MaskFormat]) -> SegmentedObject:
    """One object as clients get it: masks in `formats` and, always, as run lengths."""
    names = dict.fromkeys([*formats, MaskFormat.RLE])
    first, *others = [write_mask(found.mask, name) for name in names] if found.mask else [None]
    return SegmentedObject(
        label=found.label,
        score=found.score,
        raw_score=found.raw_score,
        box=found.box,
        area=found.mask.area if found.mask else 0,
        mask=first,
        alternate_masks=[mask for mask in others if mask],
        merged=found.merged,
    )


def write_mask(mask: AnyMask, name: MaskFormat) -> Mask:
    """A mask in one of the formats that clients can request."""
    return _WRITERS[name](mask)


def to_rle(mask: AnyMask) -> RleMask:
    """COCO run lengths of the whole image."""
    return RleMask(size=(mask.height, mask.width), counts=runs_to_counts(mask.runs))


def to_polygon(mask: AnyMask) -> PolygonMask:
    """Outlines, half a pixel around the centres of the pixels inside, with holes: drawn again they give the same
    mask."""
    x0, y0, x1, y1 = mask.box
    padded = np.zeros((y1 - y0 + 2, x1 - x0 + 2))
    padded[1:-1, 1:-1] = mask.inside
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
    return [(x, y) for x, y in corners[turns].tolist()]


def to_png(mask: AnyMask) -> PngMask:
    """A 1-bit PNG of the image's size."""
    return _png(MaskFormat.PNG, Image.fromarray(mask.full))


def to_crop(mask: AnyMask) -> PngMask:
    """The soft mask as an 8-bit PNG: -1 becomes 0, 1 becomes 255, and the mask's edge is at 127.5."""
    return _png(MaskFormat.CROP, Image.fromarray(np.round((mask.soft + 1) * 127.5).astype(np.uint8)))


def to_brush(mask: AnyMask) -> BrushMask:
    """A region for Label Studio, without names."""
    x0, y0, _, _ = mask.box
    rows, columns = steps_of(mask.inside)
    runs = edges_to_runs((rows + y0) * mask.width + columns + x0, mask.width * mask.height)
    return BrushMask(region=BrushRegion.of(runs.tolist(), mask.width, mask.height))


def _png(name: MaskFormat, image: Image.Image) -> PngMask:
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return PngMask.model_validate({"format": name, "size": (image.height, image.width), "data": data})


_WRITERS: dict[MaskFormat, Callable[[AnyMask], Mask]] = {
    MaskFormat.RLE: to_rle,
    MaskFormat.POLYGON: to_polygon,
    MaskFormat.PNG: to_png,
    MaskFormat.CROP: to_crop,
    MaskFormat.LABELSTUDIO: to_brush,
}
