"""A webhook: where a message is sent when a job or a batch ends, and the status of its delivery."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict


class WebhookEvent(StrEnum):
    """The type of a webhook message."""

    JOB_COMPLETED = "job.completed"
    """The job has succeeded, failed or been canceled."""
    BATCH_COMPLETED = "batch.completed"
    """The batch takes no more images, and all its jobs have ended."""


class Webhook(BaseModel):
    """The webhook of a job or a batch, as its client requested it. Part of its record."""

    model_config = ConfigDict(frozen=True)

    url: str
    base_url: str
    """URL of this deployment as the client sees it, for the links in the message."""

    @property
    def host(self) -> str:
        """Host and port of the URL. Deliveries in progress are limited per host."""
        return urlsplit(self.url).netloc.lower()


class DeliveryState(StrEnum):
    """The status of a delivery."""

    PENDING = "pending"
    """An attempt is due, now or later."""
    DELIVERED = "delivered"
    """The receiver answered with a status 2xx."""
    FAILED = "failed"
    """No further attempt unless the client requests one: attempts or time are used up, or the receiver answered 410."""


class Attempt(BaseModel):
    """One attempt of a delivery."""

    model_config = ConfigDict(frozen=True)

    at_ms: int
    """When it began, in Unix milliseconds of the Redis server's clock."""
    duration_s: float
    status: int | None = None
    """The HTTP status, or None if there was no response."""
    error: str | None = None
    """Why there was no response, safe to show to clients."""


class Delivery(BaseModel):
    """The delivery of the webhook of a job or a batch: its status and its attempts."""

    model_config = ConfigDict(frozen=True)

    ended_id: str
    """Of the job or of the batch."""
    state: DeliveryState
    attempts: list[Attempt]
    """The latest ones, oldest first."""
    next_attempt_at_ms: int | None
    """In Unix milliseconds; None unless the delivery is pending."""


def message_id(ended_id: str) -> str:
    """The `webhook-id` of the message of a job or a batch. Made from its id, so that every attempt sends the same."""
    return f"evt_{ended_id}"
