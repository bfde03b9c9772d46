"""What clients see of jobs, deliveries and models. Views are made from stored records and are not stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from shared.domain.job import Job, JobFailure, JobMetrics, JobStatus, Priority
from shared.domain.result import SegmentationResult
from shared.domain.webhook import Delivery, DeliveryState, WebhookEvent, message_id


class JobUrls(BaseModel):
    """URLs of the job. `result`, `overlay` and `masks` are available after the job has succeeded."""

    self: str
    events: str
    cancel: str
    result: str = Field(description="The result. `?format=` is coco, coco-polygon, roboflow, labelstudio or maskq.")
    overlay: str = Field(description="The image with the masks drawn over it, as a PNG.")
    masks: list[str] = Field(description="One PNG per object, in the order of `result.objects`.")

    @classmethod
    def of(cls, job_id: str, base_url: str, objects: int = 0) -> Self:
        """The URLs of a job with this number of objects, on the host of `base_url`."""
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
    queue_position: int | None = Field(description="Number of jobs ahead of this one, while it is queued.")
    model_id: str
    prompt: str = Field(description="The prompt as the model receives it.")
    priority: Priority
    ref: str | None = Field(description="The `ref` of the submission.")
    metadata: dict[str, Any] | None = Field(description="The `metadata` of the submission.")
    file_name: str | None = Field(description="Name of the uploaded file, or of the one in `image_url`.")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime | None = Field(description="Time at which the job is canceled if it has not ended.")
    expires_at: datetime | None = Field(description="Time at which the ended job is removed.")
    attempt: int = Field(description="Number of times that a worker has claimed the job.")
    cached: bool = Field(description="Whether the result comes from an earlier job with the same input.")
    metrics: JobMetrics | None
    error: JobFailure | None
    result: SegmentationResult | None
    urls: JobUrls

    @classmethod
    def of(cls, job: Job, queue_position: int | None, result: SegmentationResult | None, base_url: str) -> Self:
        """The view of a job, with URLs on the host of `base_url`."""
        return cls(
            id=job.id,
            status=job.status,
            queue_position=queue_position,
            model_id=job.request.model_id,
            prompt=job.request.prompt,
            priority=job.request.priority,
            ref=job.request.ref or None,
            metadata=json.loads(job.request.metadata) if job.request.metadata else None,
            file_name=job.request.file_name or None,
            created_at=_utc(job.created_at_ms),
            started_at=_utc_or_none(job.started_at_ms),
            completed_at=_utc_or_none(job.completed_at_ms),
            deadline_at=_utc_or_none(job.deadline_at_ms),
            expires_at=_utc_or_none(job.expires_at_ms),
            attempt=job.attempt,
            cached=job.cached,
            metrics=job.metrics,
            error=job.error,
            result=result.of_job(job) if result else None,
            urls=JobUrls.of(job.id, base_url, len(result.objects) if result else 0),
        )


class WebhookMessage(BaseModel):
    """The body of a webhook, as in Standard Webhooks. Its job has no `result`: fetch that at `urls.self`."""

    type: WebhookEvent
    timestamp: datetime = Field(description="Time of the event; the header `webhook-timestamp` is the time of sending.")
    data: JobView

    @classmethod
    def of(cls, job: Job, base_url: str) -> Self:
        """The message for a job that has ended."""
        view = JobView.of(job, None, None, base_url)
        return cls(type=WebhookEvent.JOB_COMPLETED, timestamp=view.completed_at or view.created_at, data=view)


class AttemptView(BaseModel):
    """One attempt to deliver."""

    at: datetime
    duration_s: float
    status: int | None = Field(description="HTTP status of the receiver's answer; null if there was none.")
    error: str | None = Field(description="Why there was no answer.")


class DeliveryView(BaseModel):
    """The delivery of the webhook of a job or a batch, and its status."""

    id: str = Field(description="The `webhook-id` of every attempt.")
    type: WebhookEvent
    url: str
    state: DeliveryState
    attempts: list[AttemptView] = Field(description="At most the latest 20, oldest first.")
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery, url: str, event: WebhookEvent = WebhookEvent.JOB_COMPLETED) -> Self:
        """The view of a delivery of `event` to `url`."""
        return cls(
            id=message_id(delivery.ended_id),
            type=event,
            url=url,
            state=delivery.state,
            attempts=[
                AttemptView(at=_utc(each.at_ms), duration_s=each.duration_s, status=each.status, error=each.error)
                for each in delivery.attempts
            ],
            next_attempt_at=_utc_or_none(delivery.next_attempt_at_ms),
        )


class DeliveryList(BaseModel):
    """The deliveries of a job or a batch. Empty before it has ended, or if it has no webhook."""

    deliveries: list[DeliveryView]

    def without_attempts(self) -> Self:
        """The same without what receivers answered."""
        return self.model_copy(
            update={"deliveries": [each.model_copy(update={"attempts": []}) for each in self.deliveries]}
        )


class JobPage(BaseModel):
    """One page of a caller's jobs."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null if this is the last.")


class ModelView(BaseModel):
    """A model of this deployment."""

    id: str
    about: str
    resolution: int | None = Field(description="Side of the square input of the model, in pixels, if known.")
    live_workers: int


class Problem(BaseModel):
    """An error (RFC 9457). `type` is a stable code; docs/errors.md lists all of them."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")


def _utc(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _utc_or_none(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else _utc(unix_ms)
