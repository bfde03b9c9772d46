"""One worker process: a loaded model, jobs taken from the store, and the duties that keep the store's promises."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from typing import Protocol, Self

from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from shared.domain.job import JobFailure, JobRequest
from shared.errors import InferenceFailed, MaskqError, StoreUnavailable
from shared.process.failpoints import failpoint
from shared.process.identity import process_name
from shared.process.notifier import POLL_S
from shared.process.periodic import PeriodicTask
from shared.registry import served_model
from shared.settings import Settings
from shared.store.leases import Lease, LeaseStore, Outcome
from worker.claims import Claim, Claims
from worker.metrics import WorkerMetrics
from worker.segmentation import Segmentation
from worker.tracing import traced

_SWEEP_S = 600.0
"""How often a worker removes images that no job needs."""
_FINISH_RETRY_S = 0.5

logger = logging.getLogger(__name__)


class JobPipeline(Protocol):
    """What does the work."""

    def run(self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool]) -> Segmentation: ...

    def close(self) -> None: ...


class ModelEngine(Protocol):
    """What the service watches and tells of."""

    @property
    def stuck_s(self) -> float: ...

    def stats(self) -> Mapping[str, float]: ...


class WorkerService:
    """What a worker does when the notifier rings, and in between. Safe to share between threads."""

    def __init__(
        self,
        settings: Settings,
        model_id: str,
        pipeline: JobPipeline,
        engine: ModelEngine,
        ring: Callable[[], None],
        ring_webhooks: Callable[[str], None],
    ) -> None:
        """`ring` makes one more thread of this worker or of another look for jobs; `ring_webhooks` makes the webhook
        of a job be delivered at once."""
        self._settings = settings
        self._model_id = model_id
        self._pipeline = pipeline
        self._engine = engine
        self._notify = ring
        self._notify_webhooks = ring_webhooks
        self._store = LeaseStore.connect(settings)
        self._claims = Claims(self._store, model_id)
        self._metrics = WorkerMetrics(settings.worker, model_id, lambda: len(self._claims), engine.stats)
        self._worker_id = process_name()
        self._stopping = threading.Event()
        self._periodic_tasks = [
            PeriodicTask("heartbeat", settings.liveness.heartbeat_s, self._beat),
            PeriodicTask("reaper", settings.liveness.heartbeat_s, lambda: self._store.reap(model_id)),
            PeriodicTask("lookout", POLL_S, self._look),
            PeriodicTask("watchdog", min(1.0, settings.worker.stuck_s / 4), self._watch_engine),
            PeriodicTask("patience", min(1.0, settings.liveness.give_up_s / 4), self._give_up_unheard),
            PeriodicTask("sweeper", _SWEEP_S, self._store.sweep_images),
            PeriodicTask("cancel listener", 1.0, self._listen_for_cancels),
        ]

    @classmethod
    def start_with_checkpoint(
        cls, settings: Settings, ring: Callable[[], None], ring_webhooks: Callable[[str], None]
    ) -> Self:
        """Load the model, warm up, and take up the duties.

        Raises:
            ConfigurationError: the model cannot be loaded; says what to do.
        """
        from worker.loading.checkpoint import load_checkpoint  # torch takes seconds to import: only a worker should pay

        served = served_model(settings.model)
        checkpoint = load_checkpoint(served, settings)
        checkpoint.codec.warm_up()
        pipeline, engine = checkpoint.start_pipeline(settings)
        service = cls(settings, served.name, pipeline, engine, ring, ring_webhooks)
        service.start()
        return service

    def start(self) -> None:
        """Take up the duties."""
        self._metrics.serve()
        for task in self._periodic_tasks:
            task.start()

    def drain(self) -> None:
        """Told to stop: take no further jobs, and return after `drain_s` those that are not done by then."""
        self._claims.close()
        drain = threading.Timer(self._settings.liveness.drain_s, self._release_all)
        drain.daemon = True
        drain.start()

    def stop(self) -> None:
        """Lay down the duties and take leave."""
        self._stopping.set()
        self._pipeline.close()
        for task in self._periodic_tasks:
            task.stop()
        try:
            self._store.depart(self._model_id, self._worker_id)
        except RedisError as error:
            logger.warning("could not take leave: %s", type(error).__name__)
        self._store.close()

    # --- Jobs ---------------------------------------------------------------------------------------------------------

    def run_pending(self) -> int:
        """Do jobs until there is none for us, or the store does not answer: the lookout will ring. Returns how many."""
        done = 0
        try:
            while self._do_next():
                done += 1
        except (RedisError, StoreUnavailable) as error:
            logger.warning("no more jobs for now, the store does not answer: %s", type(error).__name__)
        return done

    def _do_next(self) -> bool:
        with self._claims.take() as held:
            if held is None:
                return False
            failpoint("worker.claimed")
            with bound_contextvars(job_id=held.lease.job.id):
                logger.info("claimed, attempt %d", held.lease.job.attempt)
                outcome = self._run(held)
                if outcome is not None:
                    self._finish(held, outcome)
            return True

    def _run(self, held: Claim) -> Outcome | None:
        """Do the work. None if the job was dropped meanwhile."""
        job = held.lease.job
        begin = time.perf_counter()
        try:
            with traced(job) as note:
                done = self._pipeline.run(job.request, held.lease.image, lambda: held.is_dropped)
                note(done)
        except CancelledError:
            self._note_dropped()
            return None
        except MaskqError as error:
            return Outcome(failure=JobFailure(type=error.type, detail=error.detail))
        except Exception:
            logger.exception("failed")
            unknown = InferenceFailed("an unforeseen error; it was logged with the job's id")
            return Outcome(failure=JobFailure(type=unknown.type, detail=unknown.detail))
        self._metrics.segmented(job, done, time.perf_counter() - begin)
        return Outcome(result=done.result, model_s=round(done.model_s, 3), batch_size=done.batch_size)

    def _finish(self, held: Claim, outcome: Outcome) -> None:
        """Store the outcome. While the store is away the job stays in hand, and its outcome is offered again."""
        failpoint("worker.finishing")
        while not held.is_dropped:
            try:
                kept = self._store.finish(held.lease, outcome)
            except RedisError as error:
                logger.warning("not stored yet: %s", type(error).__name__)
                time.sleep(_FINISH_RETRY_S)
            else:
                logger.info("%s", outcome.status if kept else "refused, it is not ours")
                self._metrics.ended(outcome.status if kept else "refused")
                if kept and held.lease.job.webhook:
                    self._notify_webhooks(held.lease.job.id)
                break
        else:
            self._note_dropped()
        failpoint("worker.finished")

    def _note_dropped(self) -> None:
        """Nobody waits for the job of this thread any more, or somebody else has it."""
        logger.info("dropped")
        self._metrics.ended("dropped")

    # --- Periodic tasks

    def _beat(self) -> None:
        """Renew the leases of what is in hand; drop what is no longer ours."""
        in_flight = self._claims.all()
        begin = time.monotonic()
        lost = self._store.beat(self._model_id, self._worker_id, [each.lease for each in in_flight])
        for held in in_flight:
            held.heard_at = begin
            if held.lease.job.id in lost:
                held.drop()

    def _give_up_unheard(self) -> None:
        """Drop what the store has not heard of for long: soon others will have it."""
        for held in self._claims.all():
            if time.monotonic() - held.heard_at > self._settings.liveness.give_up_s:
                logger.warning("job %s: given up, the store has not heard of us", held.lease.job.id)
                held.drop()

    def _look(self) -> None:
        """Ring for jobs that wait although we have free hands: their notifier was lost, or came too early."""
        free = self._settings.worker.worker_threads - len(self._claims)
        for _ in range(min(free, self._store.waiting(self._model_id))):
            self._notify()

    def _listen_for_cancels(self) -> None:
        for job_id in self._store.canceled(self._stopping.is_set):
            self._claims.drop(job_id)

    def _watch_engine(self) -> None:
        """A thread cannot be interrupted, a process can: it is started again, and the leases bring its jobs back."""
        if self._engine.stuck_s > self._settings.worker.stuck_s:
            logger.critical("the engine has made no progress for %.0f s: ending the process", self._engine.stuck_s)
            os._exit(os.EX_SOFTWARE)

    def _release_all(self) -> None:
        for held in self._claims.all():
            self._return(held.lease)
            held.drop()

    def _return(self, lease: Lease) -> None:
        try:
            if self._store.release(lease):
                logger.info("job %s: given back", lease.job.id)
        except RedisError as error:
            logger.warning("job %s: not given back: %s", lease.job.id, type(error).__name__)
