"""The jobs a worker has in hand: who may take another, and which of them nobody waits for any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.store.leases import Lease, LeaseStore


class Claim:
    """A job in hand. It can be dropped from any thread; whoever works on it asks now and then."""

    def __init__(self, lease: Lease, heard_at: float) -> None:
        self.lease = lease
        self.heard_at = heard_at
        """When the store was last told that it is in hand: its lease began after this moment of the monotonic clock."""
        self._dropped = threading.Event()

    def drop(self) -> None:
        """Nobody waits for this job any more, or somebody else has it."""
        self._dropped.set()

    @property
    def is_dropped(self) -> bool:
        return self._dropped.is_set()


class Claims:
    """Thread-safe. A suspect is held alone: none is taken beside it, and it is taken only into empty hands."""

    def __init__(self, store: LeaseStore, model_id: str) -> None:
        self._store = store
        self._model_id = model_id
        self._held: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        """Claim while the store is asked, which takes seconds when it is away: heartbeats must not wait for that."""
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[Claim | None]:
        """Claim the next job and hold it for as long as the context lasts; None if there is none for us."""
        held = self._claim()
        try:
            yield held
        finally:
            if held is not None:
                with self._lock:
                    del self._held[held.lease.job.id]

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def drop(self, job_id: str) -> None:
        """Drop a job if it is in hand."""
        if held := self._held.get(job_id):
            held.drop()

    def all(self) -> list[Claim]:
        """Every job in hand that has not been dropped."""
        with self._lock:
            return [held for held in self._held.values() if not held.is_dropped]

    def __len__(self) -> int:
        return len(self._held)

    def _claim(self) -> Claim | None:
        with self._claiming:
            with self._lock:
                held_jobs = [held.lease.job for held in self._held.values()]
            if self._closed or any(job.quarantined for job in held_jobs):
                return None
            begin = time.monotonic()
            lease = self._store.claim(self._model_id, is_idle=not held_jobs)
            if lease is None:
                return None
            held = Claim(lease, heard_at=begin)
            with self._lock:
                self._held[lease.job.id] = held
            return held
