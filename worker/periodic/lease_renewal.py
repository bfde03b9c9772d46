"""Keeps the leases of the jobs in flight alive, and drops the jobs whose leases are lost."""

from __future__ import annotations

import logging
import time

from shared.store.leases import LeaseStore
from worker.claims import Claims

logger = logging.getLogger(__name__)


class LeaseRenewal:
    """Renews leases with heartbeats. Both methods are periodic tasks, each on a thread of its own."""

    def __init__(self, store: LeaseStore, claims: Claims, model_id: str, worker_id: str, give_up_s: float) -> None:
        """A lease that could not be renewed for `give_up_s` seconds is given up. Leases must last longer."""
        self._store = store
        self._claims = claims
        self._model_id = model_id
        self._worker_id = worker_id
        self._give_up_s = give_up_s

    def renew(self) -> None:
        """Send a heartbeat, which renews all leases. Drop the jobs whose leases this worker has lost."""
        active = self._claims.active()
        begin = time.monotonic()
        lost = self._store.heartbeat(self._model_id, self._worker_id, [claim.lease for claim in active])
        for claim in active:
            claim.renewed_at = begin
            if claim.job_id in lost:
                claim.drop()

    def drop_unrenewed(self) -> None:
        """Drop jobs whose leases could not be renewed for too long, before another worker gets them."""
        for claim in self._claims.active():
            if time.monotonic() - claim.renewed_at > self._give_up_s:
                logger.warning("job %s: dropped, its lease could not be renewed", claim.job_id)
                claim.drop()
