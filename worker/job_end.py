"""How a job ended on a worker, for its metrics and its webhook. In a module of its own: it passes between processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EndKind(StrEnum):
    """How a worker was done with a job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DROPPED = "dropped"
    """Canceled, released, or its lease was lost."""
    REFUSED = "refused"
    """Its lease had expired before its outcome was stored."""
    CRASHED = "crashed"
    """The process that ran it has ended."""


@dataclass(frozen=True)
class StageTimes:
    """Where the time of a job went that has a result, in seconds."""

    preprocess_s: float
    model_s: float
    render_s: float
    pipeline_s: float
    """All of the pipeline."""
    batch_size: int
    objects: int
    """Number of objects in the result."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended on this worker."""

    kind: EndKind
    times: StageTimes | None = None

    @property
    def is_stored(self) -> bool:
        """Whether this worker has ended the job in the store."""
        return self.kind in (EndKind.SUCCEEDED, EndKind.FAILED)
