"""From a box and a soft mask to a mask in the pixels of the uploaded image, in the formats clients ask for.

The protocol is big_vision's (`evaluators/proj/paligemma/transfers/segmentation.py`): locations are divided by 1023, so
that the last one is the far edge; the float mask is resized bilinearly to the box and only then cut at 0.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from PIL import Image

from shared.job import MaskFormat
from shared.result import Mask, PngMask, Polygon, PolygonMask, Ring, RleMask, SegmentedObject
from shared.rle import runs_to_counts
from worker.tokens import Detection

_LAST_LOCATION = 1023
BoxXyxy = tuple[int, int, int, int]
_Outlines = tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.uint32]]]
"""Corners of each connected piece, and where its outlines begin and end among them (`FillType.OuterOffset`)."""


@dataclass(frozen=True)
class PixelMask:
    """A mask as a window on an otherwise empty image: masks never leave their box, so nothing else is computed."""

    height: int
    width: int
    box: BoxXyxy
    """x0, y0, x1, y1 in pixels, x1 and y1 exclusive, within the image."""
    inside: npt.NDArray[np.bool_]
    """bool[y1 - y0, x1 - x0]."""
    soft: npt.NDArray[np.float32]
    """float32[64, 64] in [-1, 1]: what `inside` was made from."""

    @property
    def full(self) -> npt.NDArray[np.bool_]:
        """bool[height, width]."""
        x0, y0, x1, y1 = self.box
        full = np.zeros((self.height, self.width), np.bool_)
        full[y0:y1, x0:x1] = self.inside
        return full


def locations_yxyx_to_pixels_xyxy(box_yxyx: Sequence[int], width: int, height: int) -> BoxXyxy:
    """Location tokens, 0..1023, to whole pixels. A box that would vanish keeps one pixel."""
    y0, y1 = _to_pixels(box_yxyx[0], box_yxyx[2], height)
    x0, x1 = _to_pixels(box_yxyx[1], box_yxyx[3], width)
    return x0, y0, x1, y1


def _to_pixels(start: int, end: int, side: int) -> tuple[int, int]:
    first = min(round(start / _LAST_LOCATION * side), side - 1)
    return first, max(round(end / _LAST_LOCATION * side), first + 1)


def rasterize(soft: npt.NDArray[np.float32], box: BoxXyxy, width: int, height: int) -> PixelMask:
    """float32[64, 64] and a box in pixels -> the mask in an image of `width` x `height`."""
    x0, y0, x1, y1 = box
    resized = Image.fromarray(soft, "F").resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
    return PixelMask(height, width, box, np.asarray(resized) > 0, soft)


def render_object(
    detection: Detection, soft: npt.NDArray[np.float32] | None, width: int, height: int, formats: Sequence[MaskFormat]
) -> SegmentedObject:
    """One detection in the words of the wire. Its masks are in `formats` and, always, as run lengths."""
    box = locations_yxyx_to_pixels_xyxy(detection.box_yxyx, width, height)
    pixels = None if soft is None else rasterize(soft, box, width, height)
    names = dict.fromkeys([*formats, MaskFormat.RLE])
    first, *others = [_WRITERS[name](pixels) for name in names] if pixels else [None]
    return SegmentedObject(
        label=detection.label,
        score=detection.score,
        box=box,
        area=int(pixels.inside.sum()) if pixels else 0,
        mask=first,
        alternate_masks=[mask for mask in others if mask],
    )


def to_rle(mask: PixelMask) -> RleMask:
    """COCO run lengths of the whole image, computed from the window alone."""
    return RleMask(size=(mask.height, mask.width), counts=runs_to_counts(_run_lengths(mask)))


def _run_lengths(mask: PixelMask) -> list[int]:
    """Lengths of the stretches outside, inside, outside ... in column order."""
    x0, y0, _, _ = mask.box
    columns = np.pad(mask.inside.T, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(columns, axis=1)
    begin_column, begin_row = np.nonzero(steps == 1)
    end_column, end_row = np.nonzero(steps == -1)
    begins = (begin_column + x0) * mask.height + begin_row + y0
    ends = (end_column + x0) * mask.height + end_row + y0
    # A stretch that reaches the bottom of the image goes on at the top of the next column.
    joined = begins[1:] == ends[:-1]
    edges = np.stack([begins[np.r_[True, ~joined]], ends[np.r_[~joined, True]]], 1).ravel() if len(begins) else begins
    total = mask.height * mask.width
    runs = np.diff(np.concatenate([[0], edges, [total]]))
    lengths: list[int] = runs.tolist()
    return lengths[:-1] if lengths[-1] == 0 and len(lengths) > 1 else lengths


def to_polygon(mask: PixelMask) -> PolygonMask:
    """Outlines at half a pixel around the centres of the pixels inside, holes kept: drawn again, they give the mask."""
    x0, y0, _, _ = mask.box
    padded = np.pad(mask.inside, 1).astype(np.float32)
    outlines, offsets = cast(_Outlines, contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, 1.5))
    polygons = []
    for points, starts in zip(outlines, offsets, strict=True):
        corners = points + (x0 - 0.5, y0 - 0.5)  # sample (1, 1) of the padded window is the centre of pixel (x0, y0)
        exterior, *holes = [_ring(corners[a : b - 1]) for a, b in pairwise(starts)]
        polygons.append(Polygon(exterior=exterior, holes=holes))
    return PolygonMask(polygons=polygons)


def _ring(corners: npt.NDArray[np.float64]) -> Ring:
    """Leave out the corners that lie on a straight line between their neighbours."""
    before, after = corners - np.roll(corners, 1, 0), np.roll(corners, -1, 0) - corners
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return [(float(x), float(y)) for x, y in corners[turns]]


def to_png(mask: PixelMask) -> PngMask:
    """A full-size 1-bit PNG."""
    return _png(MaskFormat.PNG, Image.fromarray(mask.full))


def to_crop(mask: PixelMask) -> PngMask:
    """The soft mask as an 8-bit PNG: -1 becomes 0, 1 becomes 255, and the edge lies at 127.5."""
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
