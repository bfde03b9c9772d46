"""Finds waiting jobs whose notifications were lost or came too early."""

from __future__ import annotations

from collections.abc import Callable

from shared.store.leases import LeaseStore
from worker.job_loop import JobLoop


class QueuePoll:
    """Looks for waiting jobs while this worker is asleep."""

    def __init__(
        self, store: LeaseStore, job_loop: JobLoop, model_id: str, worker_id: str, notify_worker: Callable[[], None]
    ) -> None:
        """`notify_worker` makes a worker that is asleep look for jobs."""
        self._store = store
        self._job_loop = job_loop
        self._model_id = model_id
        self._worker_id = worker_id
        self._notify_worker = notify_worker

    def poll(self) -> None:
        """If this worker is asleep and a job waits, notify; if none does, have the next one notify it. A periodic
        task."""
        if not self._job_loop.is_awake and not self._store.fall_asleep(self._model_id, self._worker_id):
            self._notify_worker()
