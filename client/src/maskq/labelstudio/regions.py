"""From objects to the regions of a prediction, as the control tag draws them."""

from __future__ import annotations

from maskq.labelstudio.project_config import BRUSH, POLYGON, RECTANGLE, Control
from maskq.polygons import Line, line_around
from maskq.segments import Segment, Segments
from maskq.typed import Json


def region_values(found: Segment, result: Segments, kind: str) -> list[Json]:
    """The values of the regions for one object: none if the model gave no mask and the tag needs one.

    Args:
        found: one of `result`.
        kind: how it is drawn.
    """
    if kind == RECTANGLE:
        return [_rectangle(found, result)]
    if kind == POLYGON:
        return [_polygon(line_around(each), result) for each in found.polygons or ()]
    return [found.region["value"]] if kind == BRUSH and found.region else []


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
    (left, top), (width, height) = _per_cent(x0, y0, result), _per_cent(x1 - x0, y1 - y0, result)
    return {"x": left, "y": top, "width": width, "height": height, "rotation": 0}


def _polygon(line: Line, result: Segments) -> Json:
    return {"points": [_per_cent(x, y, result) for x, y in line], "closed": True}


def _per_cent(x: float, y: float, result: Segments) -> tuple[float, float]:
    """Pixels as Label Studio counts: 0 to 100 in both directions. It refuses 100.00000000000001."""
    return 100 * x / result.width, 100 * y / result.height
