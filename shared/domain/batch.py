"""A batch: the jobs of one request with several images. Its state is that of its jobs; nothing is counted apart."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel

from shared.domain.job import JobStatus

_UNFINISHED = (JobStatus.QUEUED, JobStatus.PROCESSING)


class BatchJob(BaseModel):
    """A job of a batch."""

    index: int
    """Of its image in the request, from 0."""
    id: str
    status: str
    """That of the job; `expired` or `deleted` once it is gone."""


class Batch(BaseModel):
    """The jobs of one request, in the order of their images."""

    id: str
    owner: str
    jobs: list[BatchJob]

    @property
    def unfinished(self) -> list[BatchJob]:
        """The jobs that have not ended."""
        return [job for job in self.jobs if job.status in _UNFINISHED]

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs by status."""
        return dict(Counter(job.status for job in self.jobs))
