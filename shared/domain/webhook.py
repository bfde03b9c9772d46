"""What a webhook is: where the end of a job is announced, and how that announcement fares."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict


class WebhookEvent(StrEnum):
    """What is announced."""

    JOB_COMPLETED = "job.completed"
    """The job has succeeded, failed or been canceled."""


class Webhook(BaseModel):
    """What a client asked to be told, and where. Lives in the job's record."""

    model_config = ConfigDict(frozen=True)

    url: str
    base_url: str
    """Of this deployment, as the client sees it: for the links in the message."""

    @property
    def host(self) -> str:
        """Whom a slow delivery keeps busy: host and port of the URL."""
        return urlsplit(self.url).netloc.lower()


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    """It will be tried, now or later."""
    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    FAILED = "failed"
    """It is not tried again unless its client asks: out of tries or time, or the receiver answered 410."""


class Attempt(BaseModel):
    """One try of a delivery."""

    model_config = ConfigDict(frozen=True)

    at_ms: int
    """Unix milliseconds of the Redis server's clock."""
    duration_s: float
    status: int | None = None
    """The HTTP status, or None if there was no answer."""
    error: str | None = None
    """Why there was none, in words a client may read."""


class Delivery(BaseModel):
    """How the announcement of a job's end fares."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    state: DeliveryState
    attempts: list[Attempt]
    """The latest ones, oldest first."""
    next_attempt_at_ms: int | None
    """Only while it is pending."""


def message_id(job_id: str) -> str:
    """The `webhook-id` of a job's announcement: made from the job's id, so it is the same on every try."""
    return f"evt_{job_id}"
