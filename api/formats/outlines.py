"""The outline of a mask as polygons along the edges of its pixels. Polygons have no holes here, so a mask that has some
is cut from top to bottom through each hole. Plain Python: the front end has no numpy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from shared.domain.coco_rle import counts_to_runs
from shared.domain.result import RleMask

Point = tuple[int, int]
Column = list[tuple[int, int]]
"""The runs of pixels inside a mask in one column, from y0 to y1 exclusive."""
Loop = list[Point]
"""The corners of a closed line: clockwise around pixels, anticlockwise around a hole."""


def outlines(mask: RleMask) -> list[Loop]:
    """Polygons without holes that together cover exactly the pixels of the mask. Takes up to 2 s at 25 megapixels."""
    columns = _columns(mask)
    return [loop for first, last in pairwise(_cuts(columns)) for loop in _loops(columns[first:last], first)]


def _columns(mask: RleMask) -> list[Column]:
    height, width = mask.size
    columns: list[Column] = [[] for _ in range(width)]
    end = 0
    for index, length in enumerate(counts_to_runs(mask.counts)):
        begin, end = end, end + length
        while index % 2 and begin < end:  # a run may go on in the next column
            x, y = divmod(begin, height)
            stop = min(y + end - begin, height)
            columns[x].append((y, stop))
            begin += stop - y
    return columns


def _cuts(columns: Sequence[Column]) -> list[int]:
    """The fewest columns at which to cut so that no part has a hole; with the first one, and one behind the last."""
    holes = [[x for x, _ in loop] for loop in _loops(columns, 0) if _area(loop) < 0]
    cuts = [0]
    for xs in sorted(holes, key=max):
        if min(xs) > cuts[-1]:
            cuts.append(max(xs))
    return [*cuts, len(columns)]


def _area(loop: Loop) -> float:
    """Positive around pixels, negative around a hole."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*loop, loop[0]])) / 2


def _loops(columns: Sequence[Column], first: int) -> Iterator[Loop]:
    """Every closed line between pixels inside and outside. Pixels that touch at a corner only are apart."""
    ways: defaultdict[Point, list[Point]] = defaultdict(list)
    for begin, end in _edges(columns, first):
        ways[begin].append(end)
    while ways:
        yield _loop(ways, next(iter(ways)))


def _edges(columns: Sequence[Column], first: int) -> Iterator[tuple[Point, Point]]:
    """The edges of the pixels, each with the inside on its right."""
    left: Column = []
    for x, column in enumerate([*columns, []], first):
        for y0, y1 in column:
            yield (x, y0), (x + 1, y0)
            yield (x + 1, y1), (x, y1)
        for y0, y1, is_left in _differences(left, column):
            yield ((x, y0), (x, y1)) if is_left else ((x, y1), (x, y0))
        left = column


def _differences(left: Column, right: Column) -> Iterator[tuple[int, int, bool]]:
    """Where one of two columns is inside and the other is not, and whether the left one is."""
    before, after = ({(y, is_end) for run in column for is_end, y in enumerate(run)} for column in (left, right))
    ends = sorted([(*end, True) for end in before - after] + [(*end, False) for end in after - before])
    for (y0, is_end, is_left), (y1, _, _) in zip(ends[::2], ends[1::2], strict=True):
        yield y0, y1, is_left != bool(is_end)


def _loop(ways: dict[Point, list[Point]], start: Point) -> Loop:
    """Follow the edges from `start` back to it, and remove them."""
    loop: Loop = []
    at, heading = start, (0, 0)
    while at != start or not loop or _same_pixel(at, heading, ways):
        loop.append(at)
        following = _same_pixel(at, heading, ways) or ways[at][0]
        ways[at].remove(following)
        if not ways[at]:
            del ways[at]
        at, heading = following, _heading(at, following)
    return _corners(loop)


def _same_pixel(at: Point, heading: Point, ways: dict[Point, list[Point]]) -> Point | None:
    """The end of the way that turns right here, along the same pixel. It matters where pixels touch at a corner."""
    right = (-heading[1], heading[0])
    return next((end for end in ways.get(at, ()) if _heading(at, end) == right), None)


def _corners(loop: Loop) -> Loop:
    """The loop without the points on a straight line."""
    neighbours = zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True)
    return [at for before, at, after in neighbours if _heading(before, at) != _heading(at, after)]


def _heading(begin: Point, end: Point) -> Point:
    return _sign(end[0] - begin[0]), _sign(end[1] - begin[1])


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
