"""Set operations on masks as run lengths, without their pixels. Run lengths are those of `run_lengths`: int64[N],
column by column, outside first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shared.domain.tiles import BoxXyxy

Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


def area(runs: Ints) -> int:
    """Number of pixels inside."""
    return int(runs[1::2].sum())


def intersection(one: Ints, other: Ints) -> Ints:
    """Run lengths of the pixels that are inside both masks of one picture."""
    return _combined(one, other, np.logical_and)


def union(one: Ints, other: Ints) -> Ints:
    """Run lengths of the pixels that are inside at least one of two masks of one picture."""
    return _combined(one, other, np.logical_or)


def box_runs(box: BoxXyxy, width: int, height: int) -> Ints:
    """Run lengths of a rectangle within a picture of `width` x `height` pixels."""
    x0, y0, x1, y1 = box
    if y1 - y0 == height:
        return _runs(np.array([x0 * height, x1 * height]), width * height)
    columns = np.arange(x0, x1)[:, None] * height
    return _runs((columns + (y0, y1)).ravel(), width * height)


def _combined(one: Ints, other: Ints, rule: Callable[[_Bools, _Bools], _Bools]) -> Ints:
    edges, other_edges = _edges(one), _edges(other)
    places = np.union1d(edges, other_edges)
    inside = rule(_is_inside(edges, places), _is_inside(other_edges, places))
    return _runs(places[np.diff(inside, prepend=False)], int(one.sum()))


def _edges(runs: Ints) -> Ints:
    """The places at which the mask is entered and left, in turn."""
    return np.cumsum(runs)[:-1]


def _is_inside(edges: Ints, places: Ints) -> _Bools:
    return np.searchsorted(edges, places, side="right") % 2 == 1


def _runs(edges: Ints, total: int) -> Ints:
    """The inverse of `_edges`, for a picture of `total` pixels."""
    return np.diff(edges[edges < total], prepend=0, append=total)
