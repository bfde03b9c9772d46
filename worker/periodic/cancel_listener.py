"""Drops jobs in flight as soon as their clients cancel them."""

from __future__ import annotations

import threading

from shared.store.leases import LeaseStore
from worker.claims import Claims


class CancelListener:
    """Listens to the store's channel of canceled jobs."""

    def __init__(self, store: LeaseStore, claims: Claims) -> None:
        self._store = store
        self._claims = claims
        self._stopped = threading.Event()

    def listen(self) -> None:
        """Drop jobs as they are canceled, until `stop` is called or the connection ends. A periodic task: it connects
        again."""
        for job_id in self._store.canceled(self._stopped.is_set):
            self._claims.drop(job_id)

    def stop(self) -> None:
        """Make `listen` return."""
        self._stopped.set()
