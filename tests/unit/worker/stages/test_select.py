from __future__ import annotations

import pytest

from shared.domain.job import ScoreThreshold
from shared.domain.result import LeftOutReason
from worker.stages.place import FoundObject
from worker.stages.select import left_out, split_by_score


def _found(label: str | None, score: float) -> FoundObject:
    return FoundObject(label, score, score, (0, 0, 1, 1), None, (0, 0, 9, 9), 9, 9)


_FOUND = [_found("cat", 0.4), _found("Dog", 0.5), _found(None, 0.1)]


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0.0, ["cat", "Dog", None]),
        (0.4, ["cat", "Dog"]),
        (0.45, ["Dog"]),
        (1.0, []),
        ({"cat": 0.5}, ["Dog", None]),
        ({"cat": 0.3, "dog": 0.6}, ["cat", None]),
        ({"DOG": 0.5}, ["cat", "Dog", None]),
    ],
)
def test_objects_below_the_threshold_of_their_name_are_left_out(
    threshold: ScoreThreshold, kept: list[str | None]
) -> None:
    above, below = split_by_score(_FOUND, threshold)
    assert [each.label for each in above] == kept
    assert {each.label for each in below} == {"cat", "Dog", None} - set(kept)


def test_what_is_left_out_is_said_with_its_reason() -> None:
    (one,) = left_out(_FOUND[:1], LeftOutReason.BELOW_THRESHOLD)
    assert one.model_dump(mode="json") == {
        "reason": "below_score_threshold", "label": "cat", "score": 0.4, "box": [0, 0, 1, 1],
    }  # fmt: skip
