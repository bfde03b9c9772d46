"""What is wrong with each accepted job, by what its client knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from benchmarks.chaos.clients import ClientJob
from shared.domain.result import SegmentationResult

JobDocument: TypeAlias = Mapping[str, Any]
"""A job as the service shows it."""
Jobs: TypeAlias = Mapping[str, JobDocument]
"""Jobs by their idempotency keys."""
ENDED = ("succeeded", "failed", "canceled")
_WHEN = ("created_at", "started_at", "completed_at", "expires_at", "attempt", "metrics")
"""What differs when a job has ended twice in the same way."""


def summary(jobs: Sequence[ClientJob], ended: Jobs, again: Jobs) -> dict[str, Any]:
    """How the jobs ended, from each as seen first after its end and as seen at the end of the run."""
    problems = Counter(_problem(job, ended.get(job.key), again.get(job.key)) for job in jobs)
    wrong_how = {problem: count for problem, count in problems.items() if problem not in (None, "lost")}
    statuses = Counter(job["status"] for job in again.values())
    return {
        "accepted": len(jobs),
        **{status: statuses[status] for status in ENDED},
        "lost": problems["lost"],
        "wrong": sum(wrong_how.values()),
        "wrong_how": wrong_how,
        "ended_again_in_the_same_way": sum(
            has_ended_again(ended[key], again[key]) for key in ended.keys() & again.keys()
        ),
    }


def _problem(job: ClientJob, ended: JobDocument | None, again: JobDocument | None) -> str | None:
    """What is wrong with a job, or None."""
    if ended is None or again is None:
        return "lost"
    return _problem_with_end(job, ended) or (None if _outcome(ended) == _outcome(again) else _change(ended, again))


def has_ended_again(ended: JobDocument, again: JobDocument) -> bool:
    """Whether a job ended twice in the same way: the client was told the first end, which then was lost."""
    return ended != again and _outcome(ended) == _outcome(again)


def _outcome(job: JobDocument) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in _WHEN}


def _change(ended: JobDocument, again: JobDocument) -> str:
    changed = ended["status"] != again["status"]
    return f"{ended['status']}, and then {again['status'] if changed else 'with other content'}"


def _problem_with_end(job: ClientJob, ended: JobDocument) -> str | None:
    status = ended["status"]
    if job.is_cancel_granted and status != "canceled":
        return f"{status} after its cancel was granted"
    if status == "canceled":
        return None if job.is_cancel_sent or _is_past_its_deadline(ended) else "canceled without a reason"
    if status == "failed":
        kind = ended["error"]["type"]
        return None if job.expected is None and kind == "worker_lost" else f"failed as {kind}"
    is_right = job.expected == SegmentationResult.model_validate(ended["result"])
    return None if is_right else "another result than the right one"


def _is_past_its_deadline(job: JobDocument) -> bool:
    deadline, completed = job["deadline_at"], job["completed_at"]
    return deadline is not None and datetime.fromisoformat(completed) >= datetime.fromisoformat(deadline)
