"""Polygons without holes, for tools whose polygons have none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from maskq.typed import Json

Line: TypeAlias = Sequence[Sequence[float]]
"""The corners of a closed line, as (x, y) in pixels."""


def line_around(polygon: Json) -> Line:
    """One line around a polygon with holes. It goes to each hole, around it and back the same way, which encloses
    nothing.

    Args:
        polygon: one of `Segment.polygons`.
    """
    line = list(polygon["exterior"])
    for hole in polygon["holes"]:
        near = min(range(len(line)), key=lambda index: math.dist(line[index], hole[0]))
        line = [*line[: near + 1], *hole, hole[0], *line[near:]]
    return line
