"""What clients see of a job. Nothing here is stored; everything is made from a job's record when it is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, Field

from shared.job import Job, JobFailure, JobMetrics, JobStatus, Priority
from shared.result import SegmentationResult


class JobUrls(BaseModel):
    """Where to go from here. `overlay` answers once the job has succeeded."""

    self: str
    events: str
    cancel: str
    overlay: str

    @classmethod
    def of(cls, job_id: str, base_url: str) -> Self:
        job = f"{base_url.rstrip('/')}/jobs/{job_id}"
        return cls(self=job, events=f"{job}/events", cancel=f"{job}/cancel", overlay=f"{job}/overlay.png")


class JobView(BaseModel):
    """A job as its client sees it."""

    id: str
    status: JobStatus
    queue_position: int | None = Field(description="Jobs ahead of this one while it is queued.")
    model_id: str
    prompt: str = Field(description="In the model's form.")
    priority: Priority
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime | None = Field(description="When the job is canceled if it has not ended.")
    expires_at: datetime | None = Field(description="When the finished job is forgotten.")
    attempt: int = Field(description="How often a worker has taken the job.")
    cached: bool = Field(description="The result is that of an earlier job that asked the same.")
    metrics: JobMetrics | None
    error: JobFailure | None
    result: SegmentationResult | None
    urls: JobUrls

    @classmethod
    def of(cls, job: Job, queue_position: int | None, result: SegmentationResult | None, base_url: str) -> Self:
        return cls(
            id=job.id,
            status=job.status,
            queue_position=queue_position,
            model_id=job.request.model_id,
            prompt=job.request.prompt,
            priority=job.request.priority,
            created_at=_utc(job.created_at_ms),
            started_at=_utc_or_none(job.started_at_ms),
            completed_at=_utc_or_none(job.completed_at_ms),
            deadline_at=_utc_or_none(job.deadline_at_ms),
            expires_at=_utc_or_none(job.expires_at_ms),
            attempt=job.attempt,
            cached=job.cached,
            metrics=job.metrics,
            error=job.error,
            result=result.in_formats(job.request.mask_formats) if result else None,
            urls=JobUrls.of(job.id, base_url),
        )


class JobPage(BaseModel):
    """Some of a caller's jobs."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="For the page after this one; null if this is the last.")


class ModelView(BaseModel):
    """A model this deployment serves."""

    id: str
    about: str
    resolution: int | None = Field(description="Side of the square the model sees, in pixels, if known.")
    live_workers: int


class Problem(BaseModel):
    """RFC 9457. `type` is a stable code; docs/errors.md lists them."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")


def _utc(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _utc_or_none(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else _utc(unix_ms)
