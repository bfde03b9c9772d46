"""Makes one object of several detections of it: repeats by the model, and views of it in several tiles.

Of two views only the pixels that both see are compared, because an object that continues beyond a tile is cut there.
The thresholds are measured: docs/answers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from operator import itemgetter

from shared.domain.tiles import BoxXyxy
from worker.stages.pixel_mask import RunMask
from worker.stages.place import FoundObject
from worker.stages.run_sets import area, box_runs, intersection, union

DUPLICATE_IOU = 0.7
"""From this intersection over union on, two detections with one label in one view are the same object."""
SAME_OBJECT_SHARE = 0.3
"""From this share of the smaller one on, two detections with one label in two views are the same object. A model that
sees a part of an object often writes a mask that is far from the truth, but lies on the object."""
_EDGE_SHARE = 0.12
"""A box that ends within this share of a tile's side from its edge counts as cut by the edge: the model seldom writes a
box to the very edge."""

_Group = list[FoundObject]
_Likeness = Callable[[FoundObject, FoundObject], float]


def merge_duplicates(found: Iterable[FoundObject]) -> list[FoundObject]:
    """Of the detections of one view, keep the best of those that are the same object, at the place of the first."""
    groups: list[_Group] = []
    for each in found:
        _put(each, groups, groups, _duplicate_iou, DUPLICATE_IOU)
    return [_counted(_best(group), group) for group in groups]


def merge_views(views: Iterable[Sequence[FoundObject]]) -> tuple[list[FoundObject], list[FoundObject]]:
    """One object for all detections of it, at most one from each view; and the parts of objects that only one tile
    shows, cut by its edge. The whole picture is the first view."""
    groups: list[_Group] = []
    for view in views:
        free = list(groups)
        for each in view:
            if group := _put(each, free, groups, _shared_part, SAME_OBJECT_SHARE):
                free.remove(group)
    objects = [_counted(_one(group), group) for group in groups if not _is_lone_part(group)]
    return objects, [group[0] for group in groups if _is_lone_part(group)]


def _put(
    each: FoundObject, candidates: Sequence[_Group], groups: list[_Group], likeness: _Likeness, least: float
) -> _Group | None:
    """Add a detection to the candidate group that it is most like, and return that; or make a group of it."""
    likeness_of = [(max(likeness(member, each) for member in group), group) for group in candidates]
    most, group = max(likeness_of, key=itemgetter(0), default=(0.0, None))
    if group is None or most < least:
        groups.append([each])
        return None
    group.append(each)
    return group


def _counted(one: FoundObject, group: _Group) -> FoundObject:
    return replace(one, merged=sum(each.merged for each in group) + len(group) - 1)


def _best(group: _Group) -> FoundObject:
    return max(group, key=lambda each: each.score)


def _duplicate_iou(one: FoundObject, other: FoundObject) -> float:
    """Intersection over union, 0..1; 0 for different labels."""
    shared = _shared_area(one, other)
    return shared / (area(one.runs) + area(other.runs) - shared) if shared else 0.0


def _shared_part(one: FoundObject, other: FoundObject) -> float:
    """Share of the smaller one that is inside both, 0..1, where both views see; 0 for different labels."""
    shared = _shared_area(one, other)
    common = _common(one.view, other.view)
    return shared / min(_area_within(each, common) for each in (one, other)) if shared and common else 0.0


def _shared_area(one: FoundObject, other: FoundObject) -> int:
    if one.label != other.label or not _common(one.box, other.box):
        return 0
    return area(intersection(one.runs, other.runs))


def _area_within(found: FoundObject, box: BoxXyxy) -> int:
    return area(intersection(found.runs, box_runs(box, found.width, found.height)))


def _common(one: BoxXyxy, other: BoxXyxy) -> BoxXyxy | None:
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _one(group: _Group) -> FoundObject:
    """The best detection of an object: whole in a tile, else as the whole picture shows it, else its joined parts."""
    whole = [each for each in group if not _is_cut(each)]
    in_tiles = [each for each in whole if each.view != _picture(each)]
    return _best(in_tiles or whole) if whole else _joined(group)


def _is_lone_part(group: _Group) -> bool:
    return len(group) == 1 and _is_cut(group[0])


def _picture(found: FoundObject) -> BoxXyxy:
    return 0, 0, found.width, found.height


def _is_cut(found: FoundObject) -> bool:
    """Whether it reaches an edge of its tile beyond which the picture continues."""
    left, top, right, bottom = found.view
    near_x, near_y = (right - left) * _EDGE_SHARE, (bottom - top) * _EDGE_SHARE
    x0, y0, x1, y1 = found.box
    return (
        0 < left >= x0 - near_x
        or 0 < top >= y0 - near_y
        or found.width > right <= x1 + near_x
        or found.height > bottom <= y1 + near_y
    )


def _joined(group: _Group) -> FoundObject:
    """The union of the parts of an object that tiles have cut."""
    best = _best(group)
    x0, y0 = (min(each.box[axis] for each in group) for axis in (0, 1))
    x1, y1 = (max(each.box[axis] for each in group) for axis in (2, 3))
    masks = [each.mask.runs for each in group if each.mask]
    mask = RunMask(reduce(union, masks), (x0, y0, x1, y1), best.width, best.height) if masks else None
    return replace(best, box=(x0, y0, x1, y1), mask=mask)
