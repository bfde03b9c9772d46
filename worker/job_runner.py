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
from worker.job_end import EndKind, JobEnd, StageTimes
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

    def __init__(self, store: LeaseStore, pipeline: JobPipeline) -> None:
        self._store = store
        self._pipeline = pipeline

    def run(self, claim: Claim) -> JobEnd:
        """Run a claimed job, and store how it ended."""
        with bound_contextvars(job_id=claim.job_id):
            logger.info("claimed, attempt %d", claim.lease.job.attempt)
            end = self._run(claim)
            logger.info("%s", REFUSED if end.kind is EndKind.REFUSED else end.kind)
        return end

    def close(self) -> None:
        """Close the pipeline."""
        self._pipeline.close()

    def _run(self, claim: Claim) -> JobEnd:
        job = claim.lease.job
        begin = time.perf_counter()
        try:
            with traced(job) as record:
                done = self._pipeline.run(job.request, claim.lease.image, lambda: claim.is_dropped, job.client)
                record(done)
        except CancelledError:
            return JobEnd(EndKind.DROPPED)
        except MaskqError as error:
            return self._finish(claim, Outcome(failure=JobFailure(type=error.type, detail=error.detail)))
        except Exception:
            logger.exception("failed")
            unknown = InferenceFailed("an unforeseen error; it was logged with the job's id")
            return self._finish(claim, Outcome(failure=JobFailure(type=unknown.type, detail=unknown.detail)))
        outcome = Outcome(result=done.result, model_s=round(done.model_s, 3), batch_size=done.batch_size)
        return self._finish(claim, outcome, _times(done, time.perf_counter() - begin))

    def _finish(self, claim: Claim, outcome: Outcome, times: StageTimes | None = None) -> JobEnd:
        """Store the outcome. While the store does not respond the job stays in flight, and the request is repeated."""
        failpoint("worker.finishing")
        has_failed = False
        end = JobEnd(EndKind.DROPPED)
        while not claim.is_dropped:
            try:
                is_stored = self._store.finish(claim.lease, outcome)
            except (RedisError, StoreUnconfirmed) as error:
                if not has_failed:
                    logger.warning("not stored yet: %s", type(error).__name__)
                has_failed = True
                time.sleep(_FINISH_RETRY_S)
            else:
                end = JobEnd(EndKind(outcome.status) if is_stored else EndKind.REFUSED, times)
                break
        failpoint("worker.finished")
        return end


def _times(done: PipelineResult, pipeline_s: float) -> StageTimes:
    objects = len(done.result.objects)
    return StageTimes(done.preprocess_s, done.model_s, done.render_s, pipeline_s, done.batch_size, objects)
