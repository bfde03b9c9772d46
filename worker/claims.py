"""The jobs that this worker has claimed: which are in flight, and which of them are dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from redis.exceptions import RedisError

from shared.domain.fair_share import is_within_share
from shared.store.fence_token import new_nonce
from shared.store.leases import Lease, LeaseStore

_MAX_AT_ONCE = 4
"""Jobs claimed by one request, so that several workers share a burst."""
_NEWCOMER = ""
"""Stands for a client without a job in flight."""

logger = logging.getLogger(__name__)


class Claim:
    """A claimed job in flight. Any thread may drop it; the thread that works on it checks `is_dropped`."""

    def __init__(self, lease: Lease, renewed_at: float) -> None:
        self.lease = lease
        self.renewed_at = renewed_at
        """Monotonic time, in seconds, just before the last request that started or renewed the lease."""
        self._dropped = threading.Event()
        self._act_when_dropped: Callable[[], object] = _do_nothing

    @property
    def job_id(self) -> str:
        """The id of the claimed job."""
        return self.lease.job.id

    def drop(self) -> None:
        """Stop the work on this job: it was canceled, or another worker may have it."""
        self._dropped.set()
        self._act_when_dropped()

    def when_dropped(self, act: Callable[[], object]) -> None:
        """Call `act` once the job is dropped, on the thread that drops it. At once if it was dropped before, and more
        than once if it is dropped again."""
        self._act_when_dropped = act
        if self.is_dropped:
            act()

    def forget_image(self) -> None:
        """Free the memory of the image, which nobody here needs any longer."""
        self.lease = replace(self.lease, image=b"")

    @property
    def is_dropped(self) -> bool:
        """Whether the work on this job should stop."""
        return self._dropped.is_set()


def _do_nothing() -> None:
    pass


@dataclass(frozen=True)
class Looked:
    """What came of looking for jobs."""

    claims: list[Claim]
    is_blocked: bool = False
    """Whether this worker can claim none before one of its jobs has ended."""
    is_last: bool = False
    """Whether no other job waits."""


class Claims:
    """All claims of a worker. Thread-safe. A quarantined job runs alone: it is claimed only if no other job is in
    flight, and no other job is claimed while it is. While several clients wait, none gets more than its share."""

    def __init__(self, store: LeaseStore, model_id: str, slots: int) -> None:
        """`slots` is how many jobs this worker has in flight at most."""
        self._store = store
        self._model_id = model_id
        self._slots = slots
        self._in_flight: dict[str, Claim] = {}
        self._changed = threading.Condition()
        """Locked to read or change the jobs in flight."""
        self._claiming = threading.Lock()
        """Locked during the request to the store, which takes seconds if the store is down. Heartbeats must not wait
        for it, so it is not `_changed`."""
        self._unanswered = ""
        """The nonce of a request to which the store gave no answer: it may have claimed jobs for this worker."""
        self._closed = False

    def claim(self) -> Looked:
        """Claim the next jobs, up to as many as there are free slots. They are in flight until `end`."""
        with self._claiming:
            with self._changed:
                in_flight = [claim.lease.job for claim in self._in_flight.values()]
            free = self._slots - len(in_flight)
            if self._closed or free <= 0 or any(job.quarantined for job in in_flight):
                return Looked([], is_blocked=True)
            room, full = self._room(Counter(job.client for job in in_flight), free)
            begin = time.monotonic()
            is_repeated, self._unanswered = bool(self._unanswered), self._unanswered or new_nonce()
            found = self._store.claim_several(
                self._model_id,
                self._unanswered,
                max_jobs=room,
                is_idle=not in_flight,
                full_clients=full,
                is_repeated=is_repeated,
            )
            self._unanswered = ""
            claims = [Claim(lease, renewed_at=begin) for lease in found.leases]
            with self._changed:
                for claim in claims:
                    self.drop(claim.job_id)  # an earlier claim of it is stale: the server has forgotten it
                    self._in_flight[claim.job_id] = claim
            return Looked(claims, is_blocked=found.waiting > 0 and not claims, is_last=found.waiting == 0)

    def end(self, claim: Claim) -> None:
        """A job is in flight no longer."""
        with self._changed:
            if self._in_flight.get(claim.job_id) is claim:  # it may have been lost, and claimed again by this worker
                del self._in_flight[claim.job_id]
            self._changed.notify_all()

    def wait_for_end(self, timeout_s: float) -> None:
        """Return when a job has ended, when there is a free slot and nothing in flight, or after this time."""
        with self._changed:
            if self._in_flight and not self._closed:
                self._changed.wait(timeout_s)

    def wait_until_empty(self) -> None:
        """Return when no job is in flight."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight)

    @property
    def is_closed(self) -> bool:
        """Whether no further jobs are claimed."""
        return self._closed

    def close(self) -> None:
        """Claim no further jobs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def active(self) -> list[Claim]:
        """The claims in flight that are not dropped."""
        with self._changed:
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

    def _room(self, in_flight: Counter[str], free: int) -> tuple[int, list[str]]:
        """How many jobs to claim, and the clients that have their share. So few that no other client, not even a new
        one, exceeds its share if it gets all of them. `in_flight` is the number of jobs of each client."""
        full = self._full_clients(in_flight, 1)
        for room in range(min(_MAX_AT_ONCE, free), 1, -1):
            if self._full_clients(Counter({**in_flight, _NEWCOMER: 0}), room) == full:
                return room, full
        return 1, full

    def _full_clients(self, in_flight: Counter[str], more: int) -> list[str]:
        """Clients that would exceed their share of the jobs in flight if they got so many more."""
        total = in_flight.total() + more
        return [each for each, own in in_flight.items() if not is_within_share(own + more, total, self._slots)]

    def _release(self, claim: Claim) -> None:
        try:
            if self._store.release(claim.lease):
                logger.info("job %s: released", claim.job_id)
        except RedisError as error:
            logger.warning("job %s: not released: %s", claim.job_id, type(error).__name__)
