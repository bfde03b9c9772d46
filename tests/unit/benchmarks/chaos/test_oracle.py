"""What the oracle of chaos runs says of jobs that went right and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.chaos.clients import ClientJob
from benchmarks.chaos.oracle import summary
from testing.factories import segmentation_result, segmented_object

_RESULT = segmentation_result(segmented_object())
_OTHER = segmentation_result()


def _job(**values: Any) -> ClientJob:
    usual = {"prompt": "cat", "image": b"", "expected": _RESULT, "timeout_s": None, "key": "key"}
    return ClientJob(**{**usual, "is_cancel_wanted": False, "is_repeated": False, **values})


def _shown(status: str = "succeeded", **values: Any) -> dict[str, Any]:
    times = {"deadline_at": None, "completed_at": "2026-01-01T00:00:02Z", "started_at": "2026-01-01T00:00:01Z"}
    result = _RESULT.model_dump(mode="json") if status == "succeeded" else None
    return {"id": "1", "status": status, "result": result, "error": None, "attempt": 1, **times, **values}


def _wrong(job: ClientJob, ended: dict[str, Any] | None, again: dict[str, Any] | None) -> tuple[int, list[str], int]:
    found = summary([job], {"key": ended} if ended else {}, {"key": again} if again else {})
    return found["lost"], list(found["wrong_how"]), found["ended_again_in_the_same_way"]


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (_job(), _shown()),
        (_job(is_cancel_sent=True), _shown("canceled")),
        (_job(is_cancel_granted=True, is_cancel_sent=True), _shown("canceled")),
        (_job(timeout_s=1), _shown("canceled", deadline_at="2026-01-01T00:00:02Z")),
        (_job(expected=None), _shown("failed", error={"type": "worker_lost"})),
    ],
)
def test_a_job_that_ended_as_it_should_is_right(job: ClientJob, shown: dict[str, Any]) -> None:
    assert _wrong(job, shown, shown) == (0, [], 0)


@pytest.mark.parametrize(
    ("job", "shown", "problem"),
    [
        (_job(), _shown(result=_OTHER.model_dump(mode="json")), "another result than the right one"),
        (_job(), _shown("canceled"), "canceled without a reason"),
        (_job(timeout_s=9), _shown("canceled", deadline_at="2026-01-01T00:00:09Z"), "canceled without a reason"),
        (_job(), _shown("failed", error={"type": "worker_lost"}), "failed as worker_lost"),
        (_job(is_cancel_granted=True), _shown(), "succeeded after its cancel was granted"),
    ],
)
def test_a_job_that_ended_otherwise_is_wrong(job: ClientJob, shown: dict[str, Any], problem: str) -> None:
    assert _wrong(job, shown, shown) == (0, [problem], 0)


def test_a_job_that_does_not_end_or_is_forgotten_is_lost() -> None:
    assert _wrong(_job(), None, _shown("queued")) == (1, [], 0)
    assert _wrong(_job(), _shown(), None) == (1, [], 0)


def test_a_job_whose_end_changes_is_wrong() -> None:
    job = _job(is_cancel_sent=True)
    assert _wrong(job, _shown(), _shown("canceled"))[1] == ["succeeded, and then canceled"]
    assert _wrong(job, _shown(), _shown(ref="other"))[1] == ["succeeded, and then with other content"]


def test_a_job_that_ended_twice_in_the_same_way_is_counted_and_not_wrong() -> None:
    assert _wrong(_job(), _shown(), _shown(completed_at="2026-01-01T00:00:09Z", attempt=2)) == (0, [], 1)
