"""Who runs the jobs that a worker has claimed: threads of this process, or processes (`worker.job_processes`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Protocol

from shared.store.leases import LeaseStore
from worker.claims import Claim
from worker.job_end import EndKind, JobEnd
from worker.job_runner import JobPipeline, JobRunner

Ended = Callable[[Claim, JobEnd], None]
"""Called once for each job that was started, when this worker is done with it. It may be called on any thread."""

logger = logging.getLogger(__name__)


class Jobs(Protocol):
    """Runs claimed jobs."""

    def wait_until_ready(self) -> None:
        """Return when jobs can run at once. Call it once."""

    def start(self, claim: Claim, ended: Ended) -> None:
        """Start a job. Returns at once."""

    def close(self) -> None:
        """Free all resources. No job may run."""


RunsJobs = Callable[[LeaseStore], Jobs]
"""Makes what runs the jobs, with the store that has them."""


class JobThreads:
    """Runs each job on a thread of its own."""

    def __init__(self, runner: JobRunner, threads: int) -> None:
        """`threads` is how many run at once."""
        self._runner = runner
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="job")

    def wait_until_ready(self) -> None:
        """As `Jobs.wait_until_ready`: threads always are."""

    def start(self, claim: Claim, ended: Ended) -> None:
        """As `Jobs.start`. The thread has the context variables of the caller."""
        self._threads.submit(copy_context().run, self._run, claim, ended)

    def close(self) -> None:
        """As `Jobs.close`."""
        self._threads.shutdown()
        self._runner.close()

    def _run(self, claim: Claim, ended: Ended) -> None:
        end = JobEnd(EndKind.DROPPED)
        try:
            end = self._runner.run(claim)
        except Exception:
            logger.exception("job %s: the worker failed", claim.job_id)
        finally:
            ended(claim, end)


def in_threads(pipeline: JobPipeline, threads: int) -> RunsJobs:
    """Run jobs through this pipeline, on so many threads of this process."""
    return lambda store: JobThreads(JobRunner(store, pipeline), threads)
