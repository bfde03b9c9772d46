"""What a job is: its states, the moves between them, and its record."""

from __future__ import annotations

import os
import time
import uuid
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from shared.domain.webhook import Webhook

MAX_TIMEOUT_S = 86_400
"""Longest `timeout` of a job, in seconds."""
ANONYMOUS = "anonymous"
"""Whose jobs are those of callers we do not tell apart."""


class JobStatus(StrEnum):
    """Where a job is. The words are Replicate's, so that clients written for one read the other."""

    QUEUED = "queued"
    """Accepted and stored; waits for a worker."""
    PROCESSING = "processing"
    """Claim by one worker under a fence token."""
    SUCCEEDED = "succeeded"
    """Has a result. An empty list of objects is a result too."""
    FAILED = "failed"
    """Has an error."""
    CANCELED = "canceled"
    """Ended by its client; never gets a result."""

    @property
    def is_terminal(self) -> bool:
        return not ALLOWED_TRANSITIONS[self]


ALLOWED_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PROCESSING, JobStatus.CANCELED}),
    JobStatus.PROCESSING: frozenset({JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELED: frozenset(),
}
"""Every move there is. The scripts in `store/scripts` make them; a test walks all pairs and holds the two together."""


class MaskFormat(StrEnum):
    """How a mask is written in a result."""

    RLE = "rle"
    """COCO compressed run lengths over the whole image."""
    POLYGON = "polygon"
    """Outlines with holes, in pixels of the image."""
    PNG = "png"
    """A full-size 1-bit PNG, base64."""
    CROP = "crop"
    """The decoder's 64x64 soft mask of the box as an 8-bit PNG, base64: 0 is surely outside, 255 surely inside."""


class Priority(StrEnum):
    """How much of the service a job's flow gets: in proportion to the weights, so that none starves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def weight(self) -> int:
        return {Priority.HIGH: 4, Priority.NORMAL: 2, Priority.LOW: 1}[self]


class JobRequest(BaseModel):
    """What a client asks for, once validated. The image travels beside it."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    prompt: str
    """In the model's form: `segment cat ; dog`."""
    mask_formats: tuple[MaskFormat, ...]
    """At least one, each once, in the order asked for."""
    priority: Priority = Priority.NORMAL
    traceparent: str = ""
    """Where the request's trace goes on (W3C Trace Context); empty if there is none."""


class JobFailure(BaseModel):
    """Why a job failed, in words a client may read."""

    model_config = ConfigDict(frozen=True)

    type: str
    detail: str


class JobMetrics(BaseModel):
    """Where the time of a finished job went. Durations in seconds."""

    model_config = ConfigDict(frozen=True)

    queue_s: float
    """From acceptance until a worker took the job."""
    predict_s: float
    """From then until the result was stored."""
    model_s: float | None = None
    """Of that, inside the engine: waiting for a batch, prefill and decode."""
    batch_size: int | None = None
    """Jobs that shared the forward passes with this one, itself included."""


class Job(BaseModel):
    """A job's record as the store keeps it. Times are Unix milliseconds of the Redis server's clock."""

    model_config = ConfigDict(frozen=True)

    id: str
    status: JobStatus
    request: JobRequest
    created_at_ms: int
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    expires_at_ms: int | None = None
    deadline_at_ms: int | None = None
    """When it is canceled if it has not ended by then."""
    owner: str
    """Whose job it is."""
    webhook: Webhook | None = None
    """Where its end is announced."""
    attempt: int = 0
    """How often a worker has taken the job; planned stops do not count."""
    fence: int = 0
    """Grows with every claim and cancel; only the holder of the present value may finish the job."""
    quarantined: bool = False
    """A worker was lost while it had this job, so it runs alone."""
    losses_alone: int = 0
    """How many workers were lost while they ran it alone."""
    error: JobFailure | None = None
    cached: bool = False
    """Its result is that of an earlier job that asked the same."""
    model_s: float | None = None
    batch_size: int | None = None

    @property
    def version(self) -> str:
        """Names this state among all that the job goes through: no move leads back to a version it had before."""
        return f"{self.fence}-{self.status}"

    @property
    def metrics(self) -> JobMetrics | None:
        if self.started_at_ms is None or self.completed_at_ms is None:
            return None
        return JobMetrics(
            queue_s=(self.started_at_ms - self.created_at_ms) / 1000,
            predict_s=(self.completed_at_ms - self.started_at_ms) / 1000,
            model_s=self.model_s,
            batch_size=self.batch_size,
        )


def new_job_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits. Sorts by time."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def is_job_id(text: str) -> bool:
    """Whether `text` has the canonical form of a job id. Says nothing of whether that job exists."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
