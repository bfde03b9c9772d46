"""A job together with its position, its result and an estimate of its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from shared.domain.job import Job
from shared.domain.result import SegmentationResult
from shared.errors import JobDeleted, JobExpired, JobNotFound
from shared.store.lua_script import Reply
from shared.store.records import job_from_hash, named_values, text

_DEFAULT_DURATION_MS = 1_000.0
"""Assumed until the first job of a model has ended."""
_MAX_RETRY_S = 60


@dataclass(frozen=True)
class JobState:
    """A job, and what the store knows about it besides its record."""

    job: Job
    queue_position: int | None = None
    """Number of jobs ahead of it; None unless it is queued."""
    result: SegmentationResult | None = None
    """Every mask in every stored format; None unless the job has succeeded, and if it was read without its result."""
    wakes_worker: bool = False
    """Whether a worker is asleep that must be notified of this job, which was submitted just now."""
    retry_after_s: int | None = None
    """Estimated seconds until the job ends, 1 to 60; None if it has ended."""

    @classmethod
    def from_reply(cls, reply: Reply) -> Self:
        """From what the Lua function `job_state` returned.

        Raises:
            JobNotFound: there never was such a job.
            JobExpired: there was, and its retention is over.
            JobDeleted: there was, and it was deleted.
        """
        match text(reply["outcome"]):
            case "missing":
                raise JobNotFound("no job has this id")
            case "expired":
                raise JobExpired("it ended, and results are kept for a limited time")
            case "deleted":
                raise JobDeleted("it was deleted, with its image and its result")
        ahead, result = reply.get("jobs_ahead"), reply.get("result")
        mean_duration_ms = float(reply["mean_duration_ms"] or _DEFAULT_DURATION_MS)
        return cls(
            job=job_from_hash(named_values(reply["record"])),
            queue_position=ahead,
            result=SegmentationResult.model_validate_json(result) if result else None,
            wakes_worker=bool(reply.get("wakes_worker")),
            retry_after_s=_retry_after_s(ahead, reply["running"], mean_duration_ms, reply.get("running_ms")),
        )


def _retry_after_s(ahead: int | None, running: int, mean_duration_ms: float, running_ms: int | None) -> int | None:
    """Estimated whole seconds until a job ends, 1 to 60; None if it has ended.

    A running job needs the rest of the mean duration. For a queued job Little's law gives the throughput: `running`
    jobs of `mean_duration_ms` each end at a rate of running / mean_duration_ms jobs per millisecond.
    """
    if ahead is not None:
        left_ms = (ahead + 1) * mean_duration_ms / max(1, running) + mean_duration_ms
    elif running_ms is not None:
        left_ms = mean_duration_ms - running_ms
    else:
        return None
    return min(max(1, math.ceil(left_ms / 1000)), _MAX_RETRY_S)
