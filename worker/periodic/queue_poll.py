"""Finds waiting jobs whose notifications were lost or came too early."""

from __future__ import annotations

from collections.abc import Callable

from shared.store.leases import LeaseStore
from worker.claims import Claims


class QueuePoll:
    """Compares the waiting jobs with this worker's free threads."""

    def __init__(
        self, store: LeaseStore, claims: Claims, model_id: str, threads: int, notify_worker: Callable[[], None]
    ) -> None:
        """`notify_worker` makes one more thread, of this worker or of another, look for jobs."""
        self._store = store
        self._claims = claims
        self._model_id = model_id
        self._threads = threads
        self._notify_worker = notify_worker

    def poll(self) -> None:
        """Notify once for each waiting job that a free thread of this worker could take. A periodic task."""
        free = self._threads - len(self._claims)
        for _ in range(min(free, self._store.waiting(self._model_id))):
            self._notify_worker()
