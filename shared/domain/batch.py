"""A batch: the jobs of one request with several images, and which of its images became none."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.job import JobStatus
from shared.domain.webhook import Webhook

_UNFINISHED = (JobStatus.QUEUED, JobStatus.PROCESSING)


class Closed(StrEnum):
    """Why a batch takes no more images."""

    COMPLETE = "complete"
    """Every image of its request is a job, or was refused."""
    CANCELED = "canceled"
    DELETED = "deleted"


class BatchJob(BaseModel):
    """A job of a batch."""

    index: int
    """Of its image in the request, from 0."""
    id: str
    status: str
    """That of the job; `expired` or `deleted` once it is gone."""


class RefusedImage(BaseModel):
    """An image of a batch that became no job."""

    index: int = Field(description="Of the image in the request, from 0.")
    file_name: str | None = Field(description="Name of its file, if it has one.")
    type: str = Field(description="As in docs/errors.md.")
    detail: str


class Batch(BaseModel):
    """The record of a batch in the store, with its jobs in the order of their images. Times are Unix milliseconds of
    the Redis server's clock."""

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    flow: str = ""
    """As of a job."""
    ref: str = ""
    """The client's own name for the batch; empty if it sent none."""
    created_at_ms: int
    closed: Closed | None = None
    """None while it may take more images."""
    ended_at_ms: int | None = None
    """When it was closed and the last of its jobs had ended."""
    webhook: Webhook | None = None
    """Where a message is sent then."""
    refused: list[RefusedImage] = []
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    """Number of its jobs that ended so, those included that are gone."""
    jobs: list[BatchJob] = []
    """Empty where only the record was read."""
    fingerprints: dict[int, str] = {}
    """By which a repeated image is recognized, by its index."""
    versions: dict[int, str] = {}
    """Different for each result that a job ever had, by the index of its image. As `Job.version` without the status."""

    @property
    def client(self) -> str:
        """Whom limits count: as of a job."""
        return self.flow.partition(":")[2]

    @property
    def unfinished(self) -> list[BatchJob]:
        """The jobs that have not ended."""
        return [job for job in self.jobs if job.status in _UNFINISHED]

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs by their present status."""
        return dict(Counter(job.status for job in self.jobs))

    @property
    def ends(self) -> dict[str, int]:
        """Number of jobs by the status in which they ended."""
        return {"succeeded": self.succeeded, "failed": self.failed, "canceled": self.canceled}
