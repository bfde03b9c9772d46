"""From objects to the regions of a prediction, as the control tag draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from maskq.labelstudio.project_config import BRUSH, POLYGON, RECTANGLE, Control
from maskq.segments import Segment, Segments
from maskq.typed import Json

_Ring: TypeAlias = Sequence[Sequence[float]]
_PER_CENT = 100.0


def region_values(found: Segment, result: Segments, kind: str, brush: Json | None) -> list[Json]:
    """The values of the regions for one object: none if the model gave no mask and the tag needs one.

    Args:
        found: one of `result`.
        kind: how it is drawn.
        brush: the value that the service has made for it, if it has a mask.
    """
    if kind == RECTANGLE:
        return [_rectangle(found, result)]
    if kind == POLYGON:
        return [_polygon(ring, result) for each in found.polygons or () for ring in [_ring(each)] if len(ring) > 2]
    return [{"format": "rle", "rle": brush["rle"]}] if kind == BRUSH and brush else []


def region(region_id: str, control: Control, label: str, found: Segment, result: Segments, value: Json) -> Json:
    """One region with its label."""
    return {
        "id": region_id,
        "type": control.kind,
        "from_name": control.name,
        "to_name": control.image.name,
        "original_width": result.width,
        "original_height": result.height,
        "image_rotation": 0,
        "score": found.score,
        "value": {**value, control.kind: [label]},
    }


def _rectangle(found: Segment, result: Segments) -> Json:
    x0, y0, x1, y1 = found.box
    across, down = _PER_CENT / result.width, _PER_CENT / result.height
    return {
        "x": x0 * across,
        "y": y0 * down,
        "width": (x1 - x0) * across,
        "height": (y1 - y0) * down,
        "rotation": 0,
    }


def _polygon(ring: _Ring, result: Segments) -> Json:
    across, down = _PER_CENT / result.width, _PER_CENT / result.height
    points = [[_within(x * across), _within(y * down)] for x, y in ring]
    return {"points": points, "closed": True}


def _within(per_cent: float) -> float:
    return min(max(per_cent, 0.0), _PER_CENT)


def _ring(polygon: Json) -> _Ring:
    """One line around a polygon with holes. Label Studio's polygons have none, so the line goes to each hole, around it
    and back the same way, which encloses nothing."""
    ring = list(polygon["exterior"])
    for hole in polygon["holes"]:
        near = min(range(len(ring)), key=lambda index: math.dist(ring[index], hole[0]))
        ring = [*ring[: near + 1], *hole, hole[0], *ring[near:]]
    return ring
