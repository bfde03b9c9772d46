"""The results of several chaos runs as those of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def sums(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts are added, of other numbers the greatest is kept, and of a list of numbers its length, the median and the
    greatest. What a run lacks counts as nothing."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    return {name: _sum([run[name] for run in runs if run.get(name) is not None]) for name in names}


def _sum(values: Sequence[Any]) -> Any:
    match values:
        case []:
            return None
        case [Mapping(), *_]:
            return sums(values)
        case [list(), *_]:
            return _spread([number for numbers in values for number in numbers])
        case [int(), *_]:
            return sum(values)
    return max(values)


def _spread(numbers: Sequence[float]) -> dict[str, float]:
    ordered = sorted(numbers)
    if not ordered:
        return {"count": 0}
    return {"count": len(ordered), "p50": ordered[len(ordered) // 2], "greatest": ordered[-1]}
