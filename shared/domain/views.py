"""What clients see of a job. Nothing here is stored; everything is made from a job's record when it is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, Field

from shared.domain.job import Job, JobFailure, JobMetrics, JobStatus, Priority
from shared.domain.result import SegmentationResult
from shared.domain.webhook import Delivery, DeliveryState, WebhookEvent, message_id


class JobUrls(BaseModel):
    """Where to go from here. `result` and `overlay` answer once the job has succeeded."""

    self: str
    events: str
    cancel: str
    result: str = Field(description="Takes `?format=`: coco, roboflow, labelstudio or maskq.")
    overlay: str = Field(description="The image with its masks drawn in, for people.")
    masks: list[str] = Field(description="A PNG for each object, in the order of `result.objects`.")

    @classmethod
    def of(cls, job_id: str, base_url: str, objects: int = 0) -> Self:
        job = f"{base_url.rstrip('/')}/jobs/{job_id}"
        return cls(
            self=job,
            events=f"{job}/events",
            cancel=f"{job}/cancel",
            result=f"{job}/result",
            overlay=f"{job}/overlay.png",
            masks=[f"{job}/masks/{number}.png" for number in range(objects)],
        )


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
            urls=JobUrls.of(job.id, base_url, len(result.objects) if result else 0),
        )


class WebhookMessage(BaseModel):
    """The body of a webhook, as in Standard Webhooks. The job in it has no `result`: fetch it at `urls.self`."""

    type: WebhookEvent
    timestamp: datetime = Field(description="When it happened. The header `webhook-timestamp` says when it was sent.")
    data: JobView

    @classmethod
    def of(cls, job: Job, base_url: str) -> Self:
        """Of a job that has ended."""
        view = JobView.of(job, None, None, base_url)
        return cls(type=WebhookEvent.JOB_COMPLETED, timestamp=view.completed_at or view.created_at, data=view)


class AttemptView(BaseModel):
    """One try of a delivery."""

    at: datetime
    duration_s: float
    status: int | None = Field(description="What the receiver answered; null if there was no answer.")
    error: str | None = Field(description="Why there was no answer.")


class DeliveryView(BaseModel):
    """The announcement of a job's end, and how it fares."""

    id: str = Field(description="The `webhook-id` of every try.")
    type: WebhookEvent
    url: str
    state: DeliveryState
    attempts: list[AttemptView] = Field(description="The latest 20 at the most, oldest first.")
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery, url: str) -> Self:
        return cls(
            id=message_id(delivery.job_id),
            type=WebhookEvent.JOB_COMPLETED,
            url=url,
            state=delivery.state,
            attempts=[
                AttemptView(at=_utc(each.at_ms), duration_s=each.duration_s, status=each.status, error=each.error)
                for each in delivery.attempts
            ],
            next_attempt_at=_utc_or_none(delivery.next_attempt_at_ms),
        )


class DeliveryList(BaseModel):
    """A job's deliveries: none before it has ended, or if it has no webhook."""

    deliveries: list[DeliveryView]


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
