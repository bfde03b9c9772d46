"""Runs a claimed job through the pipeline, and stores its outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Protocol

from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from shared.domain.job import JobFailure, JobRequest
from shared.errors import InferenceFailed, MaskqError, StoreUnconfirmed
from shared.process.failpoints import failpoint
from shared.store.leases import LeaseStore, Outcome
from worker.claims import Claim
from worker.metrics import WorkerMetrics
from worker.pipeline_result import PipelineResult
from worker.tracing import traced

_FINISH_RETRY_S = 0.5
"""Pause before an outcome is offered to the store again."""

REFUSED = "refused, another worker may have the job"
"""Logged when the lease of a job had expired before its outcome was stored. Chaos runs count these lines."""

logger = logging.getLogger(__name__)


class JobPipeline(Protocol):
    """Turns a request and its image into a result. `worker.pipeline.Pipeline` is the real one."""

    def run(
        self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        """Run a whole job of this client. Raises `CancelledError` after `is_canceled` returned True."""

    def close(self) -> None:
        """Refuse new jobs and free resources."""


class JobRunner:
    """Runs jobs on the threads that call it. Safe to share between threads."""

    def __init__(
        self,
        store: LeaseStore,
        pipeline: JobPipeline,
        metrics: WorkerMetrics,
        notify_webhooks: Callable[[str], None],
    ) -> None:
        """`notify_webhooks` starts the delivery of a job's webhook."""
        self._store = store
        self._pipeline = pipeline
        self._metrics = metrics
        self._notify_webhooks = notify_webhooks

    def run(self, claim: Claim) -> None:
        """Run a claimed job, and store how it ended."""
        failpoint("worker.claimed")
        with bound_contextvars(job_id=claim.job_id):
            logger.info("claimed, attempt %d", claim.lease.job.attempt)
            outcome = self._run(claim)
            if outcome is not None:
                self._finish(claim, outcome)

    def _run(self, claim: Claim) -> Outcome | None:
        """Run one job. None if it was dropped before it ended."""
        job = claim.lease.job
        begin = time.perf_counter()
        try:
            with traced(job) as record:
                done = self._pipeline.run(job.request, claim.lease.image, lambda: claim.is_dropped, job.client)
                record(done)
        except CancelledError:
            self._record_dropped()
            return None
        except MaskqError as error:
            return Outcome(failure=JobFailure(type=error.type, detail=error.detail))
        except Exception:
            logger.exception("failed")
            unknown = InferenceFailed("an unforeseen error; it was logged with the job's id")
            return Outcome(failure=JobFailure(type=unknown.type, detail=unknown.detail))
        self._metrics.job_segmented(job, done, time.perf_counter() - begin)
        return Outcome(result=done.result, model_s=round(done.model_s, 3), batch_size=done.batch_size)

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        """Store the outcome. While the store does not respond the job stays in flight, and the request is repeated."""
        failpoint("worker.finishing")
        has_failed = False
        while not claim.is_dropped:
            try:
                stored = self._store.finish(claim.lease, outcome)
            except (RedisError, StoreUnconfirmed) as error:
                if not has_failed:
                    logger.warning("not stored yet: %s", type(error).__name__)
                has_failed = True
                time.sleep(_FINISH_RETRY_S)
            else:
                self._record_finished(claim, outcome, is_stored=stored)
                break
        else:
            self._record_dropped()
        failpoint("worker.finished")

    def _record_finished(self, claim: Claim, outcome: Outcome, *, is_stored: bool) -> None:
        logger.info("%s", outcome.status if is_stored else REFUSED)
        self._metrics.job_ended(outcome.status if is_stored else "refused")
        if is_stored and claim.lease.job.webhook:
            self._notify_webhooks(claim.job_id)

    def _record_dropped(self) -> None:
        logger.info("dropped")
        self._metrics.job_ended("dropped")
