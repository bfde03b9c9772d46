"""The jobs that this worker has claimed: which are in flight, and which of them are dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from shared.domain.fair_share import is_within_share
from shared.store.leases import Lease, LeaseStore

logger = logging.getLogger(__name__)


class Claim:
    """A claimed job in flight. Any thread may drop it; the thread that works on it checks `is_dropped`."""

    def __init__(self, lease: Lease, renewed_at: float) -> None:
        self.lease = lease
        self.renewed_at = renewed_at
        """Monotonic time, in seconds, just before the last request that started or renewed the lease."""
        self._dropped = threading.Event()

    @property
    def job_id(self) -> str:
        """The id of the claimed job."""
        return self.lease.job.id

    def drop(self) -> None:
        """Stop the work on this job: it was canceled, or another worker may have it."""
        self._dropped.set()

    @property
    def is_dropped(self) -> bool:
        """Whether the work on this job should stop."""
        return self._dropped.is_set()


class Claims:
    """All claims of a worker. Thread-safe. A quarantined job runs alone: it is claimed only if no other job is in
    flight, and no other job is claimed while it is. While several clients wait, none gets more than its share."""

    def __init__(self, store: LeaseStore, model_id: str, slots: int) -> None:
        """`slots` is how many jobs this worker has in flight at most."""
        self._store = store
        self._model_id = model_id
        self._slots = slots
        self._in_flight: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        """Locked during the request to the store, which takes seconds if the store is down. Heartbeats must not wait
        for it, so it is not `_lock`."""
        self._closed = False

    @contextmanager
    def claim(self) -> Iterator[Claim | None]:
        """Claim the next job; it is in flight until the context ends. None if there is no job for this worker."""
        claim = self._claim()
        try:
            yield claim
        finally:
            if claim is not None:
                with self._lock:
                    del self._in_flight[claim.job_id]

    def close(self) -> None:
        """Claim no further jobs."""
        self._closed = True

    def active(self) -> list[Claim]:
        """The claims in flight that are not dropped."""
        with self._lock:
            return [claim for claim in self._in_flight.values() if not claim.is_dropped]

    def drop(self, job_id: str) -> None:
        """Drop a job if it is in flight."""
        if claim := self._in_flight.get(job_id):
            claim.drop()

    def release_all(self) -> None:
        """Return the jobs in flight to the queue, unfinished, and drop them."""
        for claim in self.active():
            self._release(claim)
            claim.drop()

    def __len__(self) -> int:
        """Number of jobs in flight, dropped ones included."""
        return len(self._in_flight)

    def _claim(self) -> Claim | None:
        with self._claiming:
            with self._lock:
                in_flight = [claim.lease.job for claim in self._in_flight.values()]
            if self._closed or any(job.quarantined for job in in_flight):
                return None
            begin = time.monotonic()
            full = self._full_clients(job.client for job in in_flight)
            lease = self._store.claim(self._model_id, is_idle=not in_flight, full_clients=full)
            if lease is None:
                return None
            claim = Claim(lease, renewed_at=begin)
            with self._lock:
                self._in_flight[claim.job_id] = claim
            return claim

    def _full_clients(self, in_flight: Iterable[str]) -> list[str]:
        """Clients that have their share of the jobs in flight; `in_flight` has the client of each."""
        jobs = Counter(in_flight)
        return [each for each, own in jobs.items() if not is_within_share(own + 1, jobs.total() + 1, self._slots)]

    def _release(self, claim: Claim) -> None:
        try:
            if self._store.release(claim.lease):
                logger.info("job %s: released", claim.job_id)
        except RedisError as error:
            logger.warning("job %s: not released: %s", claim.job_id, type(error).__name__)
