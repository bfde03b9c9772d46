"""One worker process: a loaded model, and jobs taken from the store until none waits."""

from __future__ import annotations

import logging
import threading
from typing import Self

from shared.errors import InferenceFailed, MaskqError
from shared.job import JobFailure
from shared.registry import served_model
from shared.settings import Settings
from shared.store.leases import Lease, LeaseStore, Outcome
from worker.engine.engine import Engine
from worker.heartbeat import Heartbeat
from worker.pipeline import Pipeline

logger = logging.getLogger(__name__)


class WorkerService:
    """What a worker does when the doorbell rings. Safe to share between threads."""

    def __init__(
        self, store: LeaseStore, model_id: str, pipeline: Pipeline, engine: Engine, heartbeat_s: float
    ) -> None:
        self._store = store
        self._model_id = model_id
        self._pipeline = pipeline
        self._engine = engine
        self._heartbeat = Heartbeat(store, model_id, heartbeat_s)
        self._stopping = threading.Event()

    @classmethod
    def start(cls, settings: Settings) -> Self:
        """Load the model, warm up, and begin to beat.

        Raises:
            ConfigurationError: the model cannot be loaded; says what to do.
        """
        from worker.checkpoint import load_checkpoint  # torch takes seconds to import: only a worker should pay

        served = served_model(settings)
        checkpoint = load_checkpoint(served, settings)
        checkpoint.codec.warm_up(settings.max_batch)
        pipeline, engine = checkpoint.start_pipeline(settings)
        service = cls(LeaseStore.connect(settings), served.name, pipeline, engine, settings.heartbeat_s)
        service._heartbeat.start()
        return service

    def take_no_more(self) -> None:
        """Claim no further jobs; those in hand are finished. What waits stays in the store for others."""
        self._stopping.set()

    def stop(self) -> None:
        """Finish what the engine has, and take leave."""
        self._engine.close()
        self._heartbeat.stop()
        self._store.close()

    def work_off(self) -> int:
        """Do jobs until none waits. Returns how many. A lost doorbell is made up for by the next one."""
        done = 0
        while not self._stopping.is_set() and (lease := self._store.claim(self._model_id)):
            self._do(lease)
            done += 1
        return done

    def _do(self, lease: Lease) -> None:
        outcome = self._run(lease)
        kept = self._store.finish(lease, outcome)
        logger.info("job %s: %s", lease.job.id, outcome.status if kept else "no longer ours, result dropped")

    def _run(self, lease: Lease) -> Outcome:
        try:
            done = self._pipeline.run(lease.job.request, lease.image)
        except MaskqError as error:
            return Outcome(failure=JobFailure(type=error.type, detail=error.detail))
        except Exception:
            logger.exception("job %s failed", lease.job.id)
            unknown = InferenceFailed("an unforeseen error; it was logged with the job's id")
            return Outcome(failure=JobFailure(type=unknown.type, detail=unknown.detail))
        return Outcome(result=done.result, model_s=done.model_s, batch_size=done.batch_size)
