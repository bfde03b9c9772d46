"""What clients see of batches. Views are made from stored records and are not stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, Field

from shared.domain.batch import Batch, BatchJob, Closed, RefusedImage
from shared.domain.webhook import WebhookEvent

MAX_JOBS = 1_000
"""Of one page."""


class BatchUrls(BaseModel):
    """URLs of the batch."""

    self: str
    cancel: str

    @classmethod
    def of(cls, batch_id: str, base_url: str) -> Self:
        """The URLs of a batch, on the host of `base_url`."""
        batch = f"{base_url.rstrip('/')}/batches/{batch_id}"
        return cls(self=batch, cancel=f"{batch}/cancel")


class EndedBatch(BaseModel):
    """A batch whose jobs have all ended, as a webhook tells of it."""

    id: str
    ref: str | None = Field(description="The `ref` of the submission.")
    total: int = Field(description="Number of its jobs.")
    counts: dict[str, int] = Field(description="Number of jobs by the status in which they ended.")
    refused: int = Field(description="Number of images that became no job.")
    created_at: datetime
    ended_at: datetime
    urls: BatchUrls

    @classmethod
    def of(cls, batch: Batch, base_url: str) -> Self:
        """The view of a batch that has ended, with URLs on the host of `base_url`."""
        return cls(
            id=batch.id,
            ref=batch.ref or None,
            total=sum(batch.ends.values()),
            counts=batch.ends,
            refused=len(batch.refused),
            created_at=_utc(batch.created_at_ms),
            ended_at=_utc(batch.ended_at_ms or batch.created_at_ms),
            urls=BatchUrls.of(batch.id, base_url),
        )


class BatchMessage(BaseModel):
    """The body of the webhook of a batch, as in Standard Webhooks."""

    type: WebhookEvent
    timestamp: datetime
    data: EndedBatch

    @classmethod
    def of(cls, batch: Batch, base_url: str) -> Self:
        """The message for a batch that has ended."""
        view = EndedBatch.of(batch, base_url)
        return cls(type=WebhookEvent.BATCH_COMPLETED, timestamp=view.ended_at, data=view)


class BatchView(BaseModel):
    """A batch and a page of its jobs."""

    id: str
    ref: str | None = Field(description="The `ref` of the submission.")
    total: int = Field(description="Number of its jobs.")
    is_complete: bool = Field(
        description="Whether every image of its request was looked at. If not, repeat the request."
    )
    is_ended: bool = Field(description="Whether it takes no more images and all its jobs have ended.")
    closed: Closed | None = Field(description="Why it takes no more images; null while it does.")
    counts: dict[str, int] = Field(description="Number of jobs by status; `expired` and `deleted` are those gone.")
    refused: list[RefusedImage] = Field(description="Images that cannot be used. Repeating them does not help.")
    created_at: datetime
    ended_at: datetime | None
    jobs: list[BatchJob] = Field(description="In the order of the images.")
    urls: BatchUrls

    @classmethod
    def of(cls, batch: Batch, base_url: str, first: int = 0, limit: int = MAX_JOBS) -> Self:
        """The view, with at most `limit` jobs from the index `first` on, and URLs on the host of `base_url`."""
        return cls(
            id=batch.id,
            ref=batch.ref or None,
            total=len(batch.jobs),
            is_complete=batch.closed is Closed.COMPLETE,
            is_ended=batch.ended_at_ms is not None,
            closed=batch.closed,
            counts=batch.counts,
            refused=batch.refused,
            created_at=_utc(batch.created_at_ms),
            ended_at=None if batch.ended_at_ms is None else _utc(batch.ended_at_ms),
            jobs=[job for job in batch.jobs if job.index >= first][:limit],
            urls=BatchUrls.of(batch.id, base_url),
        )


def _utc(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
