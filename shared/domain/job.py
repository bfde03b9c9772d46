"""A job: its states, the transitions between them, and its record."""

from __future__ import annotations

import os
import time
import uuid
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from shared.domain.brush import ControlTags
from shared.domain.tiles import AUTO
from shared.domain.webhook import Webhook

MAX_TIMEOUT_S = 86_400
"""Longest `timeout` of a job, in seconds: a day."""
MAX_METADATA_BYTES = 4_096
"""Longest `metadata`, as JSON."""
MAX_REF_CHARS = 200
MAX_FILE_NAME_CHARS = 200
ANONYMOUS = "anonymous"
"""Owner of all jobs when API keys are off."""


class JobStatus(StrEnum):
    """The state of a job. The names are those of Replicate's API, so that its clients understand them."""

    QUEUED = "queued"
    """Accepted and stored; waits for a worker."""
    PROCESSING = "processing"
    """Claimed by one worker, under a fence token."""
    SUCCEEDED = "succeeded"
    """Has a result, possibly with no objects."""
    FAILED = "failed"
    """Has an error."""
    CANCELED = "canceled"
    """Ended by its client or its deadline; never gets a result."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended: no transition leads out of this state."""
        return not ALLOWED_TRANSITIONS[self]


ALLOWED_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PROCESSING, JobStatus.CANCELED}),
    JobStatus.PROCESSING: frozenset({JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELED: frozenset(),
}
"""All transitions. The scripts in `store/scripts` make them; a test checks every pair of states against this table."""


class MaskFormat(StrEnum):
    """The format of a mask in a result."""

    RLE = "rle"
    """COCO compressed run lengths of the whole image."""
    POLYGON = "polygon"
    """Outlines and holes, in pixels of the image."""
    PNG = "png"
    """A full-size 1-bit PNG, base64."""
    CROP = "crop"
    """The decoder's 64x64 soft mask of the box as an 8-bit PNG, base64: from 0 (outside) to 255 (inside)."""
    LABELSTUDIO = "labelstudio"
    """A region with a brush label, for a prediction in Label Studio."""


class Priority(StrEnum):
    """The priority of a job. Service is shared in proportion to the weights, so that no priority starves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def weight(self) -> int:
        """The priority's weight in the fair queue."""
        return {Priority.HIGH: 4, Priority.NORMAL: 2, Priority.LOW: 1}[self]


class Duplicates(StrEnum):
    """What happens to an object that the model names several times."""

    MERGE = "merge"
    """One object, which says how many were merged."""
    KEEP = "keep"
    """All of them, as the model wrote them."""


ScoreThreshold = float | dict[str, float]
"""0..1 for all objects, or by phrase of the prompt."""


class JobRequest(BaseModel):
    """A validated request of a client. The image is kept apart from it."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    prompt: str
    """In the model's format: `segment cat ; dog`."""
    mask_formats: tuple[MaskFormat, ...]
    """At least one, no duplicates, in the requested order."""
    tiles: str = AUTO
    """`auto`, `1` or COLUMNSxROWS, as `shared.domain.tiles.read_tiles` returns it."""
    duplicates: Duplicates = Duplicates.MERGE
    score_threshold: ScoreThreshold = 0.0
    """Objects with a lower score are left out. By phrase: objects with another label are kept."""
    priority: Priority = Priority.NORMAL
    metadata: str = ""
    """The client's own JSON object, as text; empty if it sent none. The job has it too, and nothing here reads it."""
    ref: str = ""
    """The client's own name for the job; empty if it sent none."""
    control_tags: ControlTags = ControlTags()
    """The client's names of tags in Label Studio."""
    file_name: str = ""
    """Name of the uploaded file, or of the one in `image_url`, without folders; empty if there is none."""
    traceparent: str = ""
    """Context of the request's trace (W3C Trace Context), which the worker continues; empty if there is none."""


class JobFailure(BaseModel):
    """Why a job failed: an error type and a detail that is safe to show to clients."""

    model_config = ConfigDict(frozen=True)

    type: str
    detail: str


class JobMetrics(BaseModel):
    """How long the stages of a finished job took, in seconds, and its batch."""

    model_config = ConfigDict(frozen=True)

    queue_s: float
    """From acceptance until a worker claimed the job for the last time."""
    predict_s: float
    """From that claim until the result was stored."""
    model_s: float | None = None
    """The part of `predict_s` inside the engine: the wait for a batch, prefill and decode."""
    batch_size: int | None = None
    """Jobs in the forward passes of this job, itself included."""


class Job(BaseModel):
    """The record of a job in the store. Times are Unix milliseconds of the Redis server's clock."""

    model_config = ConfigDict(frozen=True)

    id: str
    status: JobStatus
    request: JobRequest
    created_at_ms: int
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    expires_at_ms: int | None = None
    deadline_at_ms: int | None = None
    """When the job is canceled unless it has ended."""
    owner: str
    """Id of the API key that submitted it, or `ANONYMOUS`."""
    flow: str = ""
    """Its priority, a colon and its client. Empty for a job of an older version."""
    webhook: Webhook | None = None
    """Where a message is sent when the job ends."""
    attempt: int = 0
    """How often a worker has claimed the job. Claims released by a planned stop do not count."""
    fence: int = 0
    """Number of its claims and cancels. A server that takes over may not know the latest."""
    token: str = ""
    """Fence token of the latest claim: its number and a random part. Only the worker with it may finish the job."""
    quarantined: bool = False
    """A worker was lost while it ran this job, so the job now runs alone."""
    losses_alone: int = 0
    """How many workers were lost while they ran the job alone."""
    error: JobFailure | None = None
    confirmed: bool = False
    """So many replicas as `confirm_replicas` says have its end. Not noted if that is 0."""
    cached: bool = False
    """Its result was copied from an earlier job with the same request."""
    model_s: float | None = None
    batch_size: int | None = None

    @property
    def version(self) -> str:
        """Identifies the present state of the job: no transition leads back to an earlier version, not even on a server
        that took over without the latest transitions, and made others instead."""
        return f"{self.fence}-{self.token}-{self.status}-{self.completed_at_ms or 0}"

    @property
    def client(self) -> str:
        """Whom limits count for this job: the API key, or without keys the address. Empty as `flow`."""
        return self.flow.partition(":")[2]

    def region_id(self, number: int) -> str:
        """The id of an object in Label Studio, where it must be the only one of its task."""
        return f"{self.id}-{number}"

    @property
    def metrics(self) -> JobMetrics | None:
        """Durations, once the job was started and has ended; None before."""
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
    """Whether `text` has the canonical form of a job id. Does not check whether the job exists."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
