"""Who sent a request, and which jobs they may see."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.job import Job


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    owner: str
    """Owner of the jobs that the caller submits and may see: the id of its API key."""
    is_admin: bool = False
    """Whether the caller may see and cancel the jobs of all owners."""
    share: int = 1
    """Weight of this caller's jobs in the fair queue."""

    def may_see(self, job: Job) -> bool:
        """Whether the caller may see this job."""
        return self.is_admin or job.owner == self.owner
