"""Every name maskq uses in Redis, and nothing else."""

from __future__ import annotations

_PREFIX = "maskq"

JOB_PREFIX = f"{_PREFIX}:job:"
CHANGES = f"{_PREFIX}:changes"
"""Channel: the id of every job that moved."""


def job(job_id: str) -> str:
    """Hash: the job's record. Gone when its retention ends."""
    return JOB_PREFIX + job_id


def image(job_id: str) -> str:
    """String: the image as it was uploaded. Gone some time after the job ended."""
    return f"{_PREFIX}:image:{job_id}"


def result(job_id: str) -> str:
    """String: the result as JSON. Gone with the job."""
    return f"{_PREFIX}:result:{job_id}"


def tombstone(job_id: str) -> str:
    """String: set when the job ends, outlives it. Tells an expired job from one that never was."""
    return f"{_PREFIX}:tombstone:{job_id}"


def ready(model_id: str) -> str:
    """Sorted set: the ids of queued jobs by the microsecond they were accepted at."""
    return f"{_PREFIX}:ready:{model_id}"


def workers(model_id: str) -> str:
    """Sorted set: the workers that serve a model, by the millisecond of their last heartbeat."""
    return f"{_PREFIX}:workers:{model_id}"
