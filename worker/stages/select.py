"""Leaves out objects whose score is below the threshold of the request."""

from __future__ import annotations

from collections.abc import Sequence

from shared.domain.job import ScoreThreshold
from shared.domain.result import LeftOut, LeftOutReason
from worker.stages.place import FoundObject


def split_by_score(
    found: Sequence[FoundObject], threshold: ScoreThreshold
) -> tuple[list[FoundObject], list[FoundObject]]:
    """The objects that reach the threshold for their label, and the others."""
    passes = [each.score >= _threshold_of(each.label, threshold) for each in found]
    kept = [each for each, passed in zip(found, passes, strict=True) if passed]
    return kept, [each for each, passed in zip(found, passes, strict=True) if not passed]


def left_out(found: Sequence[FoundObject], reason: LeftOutReason) -> list[LeftOut]:
    """How a result says that these objects are left out."""
    return [LeftOut(reason=reason, label=each.label, score=each.score, box=each.box) for each in found]


def _threshold_of(label: str | None, threshold: ScoreThreshold) -> float:
    if isinstance(threshold, float):
        return threshold
    by_name = {phrase.casefold(): least for phrase, least in threshold.items()}
    return by_name.get((label or "").casefold(), 0.0)
