"""Makes the jobs of workers that have ended available to others, without waiting for the end of their leases."""

from __future__ import annotations

import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from shared.process.failpoints import failpoint
from shared.settings import Settings
from shared.store.leases import LeaseStore
from worker.process_locks import ProcessLocks, WorkerRecord

RECOVERY_S = 0.25
"""Period in which a worker looks whether another worker of this machine has ended."""

logger = logging.getLogger(__name__)


class Recovery:
    """Looks for workers of this machine that have ended."""

    def __init__(self, store: LeaseStore, locks: ProcessLocks, then: Callable[[], None] = lambda: None) -> None:
        """`then` is called after jobs were made available. Workers that are awake see them without it."""
        self._store = store
        self._locks = locks
        self._then = then

    def run(self) -> None:
        """Reap the jobs of all that have ended since the last call. A periodic task."""
        self._locks.visit_ended(self._reap)

    def _reap(self, ended: WorkerRecord) -> None:
        reaped = self._store.reap_worker(ended.model_id, ended.worker_id)
        if reaped.released or reaped.failed:
            failpoint("worker.recovered")
            logger.warning(
                "worker %s has ended: %d of its jobs are queued again, %d failed",
                *(ended.worker_id, reaped.released, reaped.failed),
            )
            self._then()


def recover_before_start(settings: Settings) -> None:
    """Make the jobs available of the worker in whose place this process starts. Others may run them while this one
    loads its model."""
    store = LeaseStore.connect(settings)
    try:
        Recovery(store, ProcessLocks.of(settings)).run()
    except RedisError as error:
        logger.warning("jobs of ended workers are looked for again later: %s", type(error).__name__)
    finally:
        store.close()
