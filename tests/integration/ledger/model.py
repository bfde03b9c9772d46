"""The behaviour of the ledger, as a plain model without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import combinations

from shared.domain.fair_share import is_within_share
from shared.domain.job import JobStatus, Priority
from shared.domain.webhook import Webhook
from shared.store.leases import Reaped
from tests.clock import START_MS

LEASE_MS = 10_000
_MAX_LOSSES_ALONE = 3
_MAX_COST = 100
_NOISE_MS = 50


@dataclass(frozen=True)
class Wanted:
    """A request of a client. Equal requests may have the same idempotency key."""

    owner: str
    client: str = field(compare=False)
    """An owner may send the same request from two addresses."""
    priority: Priority
    image: bytes
    timeout_s: float | None
    webhook: Webhook | None


@dataclass
class Entry:
    """A job in the model."""

    id: str
    wanted: Wanted
    start_tag: float
    created_ms: int
    status: JobStatus = JobStatus.QUEUED
    attempt: int = 0
    fence: int = 0
    is_quarantined: bool = False
    losses_alone: int = 0
    position: float = 0.0
    """Its score in the queue: the start tag, or the virtual time at which it was queued again if that is lower."""
    worker: str = ""
    lease_until_ms: int = 0
    completed_ms: int | None = None
    error: str | None = None
    was_started: bool = False
    started_ms: int = 0
    charged: float = 0.0
    """What its flow had been charged when it got its position."""

    @property
    def flow(self) -> tuple[str, Priority]:
        return self.wanted.client, self.wanted.priority

    @property
    def deadline_ms(self) -> int | None:
        timeout_s = self.wanted.timeout_s
        return None if timeout_s is None else self.created_ms + round(timeout_s * 1000)

    @property
    def is_ended(self) -> bool:
        return self.status.is_terminal


@dataclass
class Model:
    """All jobs and the fair queue."""

    now_ms: int = START_MS
    entries: dict[str, Entry] = field(default_factory=dict)
    deleted: dict[str, Entry] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    virtual_time: float = 0.0
    flows: dict[tuple[str, Priority], float] = field(default_factory=dict)
    charges: dict[tuple[str, Priority], float] = field(default_factory=dict)
    typical_ms: float | None = None

    def waiting(self, *, quarantined: bool) -> list[Entry]:
        """Queued jobs in the order of the fair queue."""
        found = [each for each in self.of(JobStatus.QUEUED) if each.is_quarantined == quarantined]
        return sorted(found, key=lambda each: (each.position, each.id))

    def of(self, status: JobStatus) -> list[Entry]:
        return [each for each in self.entries.values() if each.status is status]

    def waiting_of_clients(self) -> Counter[str]:
        """Number of queued jobs of each client, quarantined ones included."""
        return Counter(each.wanted.client for each in self.of(JobStatus.QUEUED))

    def is_refused(self, wanted: Wanted, max_waiting: int) -> str:
        """Why another job is refused: its client's share, a full queue; or empty if it is accepted."""
        waiting = self.waiting_of_clients()
        used, in_use = waiting[wanted.client] + 1, waiting.total() + 1
        if used > 1 and not is_within_share(used, in_use, max_waiting):
            return "share"
        return "full" if in_use > max_waiting else ""

    def accept(self, job_id: str, wanted: Wanted) -> None:
        flow = (wanted.client, wanted.priority)
        start_tag = max(self.virtual_time, self.flows.get(flow, 0.0))
        self.flows[flow] = start_tag + 1 / wanted.priority.weight
        charged = self.charges.get(flow, 0.0)
        self.entries[job_id] = Entry(job_id, wanted, start_tag, self.now_ms, position=start_tag, charged=charged)

    def next_for(self, *, is_idle: bool, full_clients: Collection[str] = ()) -> Entry | None:
        quarantined = self.waiting(quarantined=True)
        if quarantined:
            return quarantined[0] if is_idle else None
        while self._postpones_the_first():
            pass
        ready = self.waiting(quarantined=False)
        others = (each for each in ready if each.wanted.client not in full_clients)
        return next(others, ready[0] if ready else None)

    def _postpones_the_first(self) -> bool:
        """Postpone the first job if its flow was charged since it got its position. Returns whether it did."""
        ready = self.waiting(quarantined=False)
        if not ready:
            return False
        charge = self.charges.get(ready[0].flow, 0.0)
        delay = charge - ready[0].charged
        if delay > 0:
            ready[0].position += delay
            ready[0].charged = charge
        return delay > 0

    def start(self, entry: Entry, worker: str) -> None:
        entry.status = JobStatus.PROCESSING
        entry.worker = worker
        entry.started_ms = self.now_ms
        entry.attempt += 1
        entry.fence += 1
        entry.was_started = True
        entry.lease_until_ms = self.now_ms + LEASE_MS
        if entry.is_quarantined:
            return
        if self.waiting(quarantined=False):
            self.virtual_time = max(self.virtual_time, entry.position)
        else:
            self.virtual_time = 0.0
            self.flows.clear()
            self.charges.clear()

    def requeue(self, entry: Entry) -> None:
        entry.status = JobStatus.QUEUED
        entry.position = min(entry.start_tag, self.virtual_time)
        entry.charged = self.charges.get(entry.flow, 0.0)

    def finish(self, entry: Entry, status: JobStatus, error: str | None) -> None:
        """A worker ends a job."""
        duration_ms = self.now_ms - entry.started_ms
        typical_ms = duration_ms if self.typical_ms is None else self.typical_ms
        self.typical_ms = max(1, typical_ms * (1.05 if duration_ms > typical_ms else 0.85))
        self.end(entry, status, error)

    def charge(self, entry: Entry) -> None:
        """Charge the flow of a running job for its time."""
        if self.typical_ms is None or not self.waiting_of_clients().keys() - {entry.wanted.client}:
            return
        cost = min(_MAX_COST, (self.now_ms - entry.started_ms) // max(_NOISE_MS, self.typical_ms))
        if cost > 1:
            delay = (cost - 1) / entry.wanted.priority.weight
            self.flows[entry.flow] = max(self.virtual_time, self.flows.get(entry.flow, 0.0)) + delay
            self.charges[entry.flow] = self.charges.get(entry.flow, 0.0) + delay

    def end(self, entry: Entry, status: JobStatus, error: str | None) -> None:
        if entry.status is JobStatus.PROCESSING:
            self.charge(entry)
        entry.status = status
        entry.error = error
        entry.completed_ms = self.now_ms
        if status is JobStatus.CANCELED:
            entry.fence += 1

    def delete(self, entry: Entry) -> None:
        """A job that has not ended counts as canceled."""
        if not entry.is_ended:
            self.end(entry, JobStatus.CANCELED, None)
        self.deleted[entry.id] = self.entries.pop(entry.id)

    def ended_ever(self, status: JobStatus) -> int:
        """Number of jobs that ended so, deleted ones included."""
        return sum(each.status is status for each in [*self.entries.values(), *self.deleted.values()])

    def reap(self, worker: str = "") -> Reaped:
        """Reap the jobs whose leases have ended, or those of a worker that has ended."""
        released = failed = canceled = 0
        for entry in self.of(JobStatus.PROCESSING):
            if entry.worker != worker if worker else entry.lease_until_ms > self.now_ms:
                continue
            entry.losses_alone += entry.is_quarantined
            if entry.losses_alone == _MAX_LOSSES_ALONE:
                self.end(entry, JobStatus.FAILED, "worker_lost")
                failed += 1
            else:
                if entry.is_quarantined:
                    self.charge(entry)
                entry.is_quarantined = True
                self.requeue(entry)
                released += 1
        for entry in self.entries.values():
            if not entry.is_ended and entry.deadline_ms is not None and entry.deadline_ms <= self.now_ms:
                self.end(entry, JobStatus.CANCELED, "deadline_exceeded")
                canceled += 1
        return Reaped(released, failed, canceled)


class Fairness:
    """Checks that flows which have jobs waiting at the same time are served in proportion to their weights.

    Start-time fair queueing (Goyal, Vin, Cheng 1996, theorem 1): while two flows both have jobs waiting, let each have
    a number of jobs served, divided by its weight. The two differ by at most 1 / weight + 1 / other weight.
    """

    def __init__(self) -> None:
        self._served: dict[frozenset[tuple[str, Priority]], dict[tuple[str, Priority], int]] = {}
        self._with_gaps: set[tuple[str, Priority]] = set()

    def on_canceled(self, entry: Entry) -> None:
        """A job that is canceled in the queue has used a turn that is not counted: its flow is ignored from here on."""
        self._with_gaps.add(entry.flow)

    def on_charged(self, flows: Collection[tuple[str, Priority]]) -> None:
        """Flows that were charged for long jobs get fewer turns."""
        self._with_gaps.update(flows)

    def on_started(self, entry: Entry, waiting_before: list[Entry]) -> None:
        """A job starts for the first time. `waiting_before`: the jobs that had not started before, itself included."""
        backlogged = {each.flow for each in waiting_before} - self._with_gaps
        pairs = {frozenset(pair) for pair in combinations(backlogged, 2)}
        self._served = {pair: self._served.get(pair, dict.fromkeys(pair, 0)) for pair in pairs}
        for pair, served in self._served.items():
            if entry.flow in pair:
                served[entry.flow] += 1
            (one, count), (other, other_count) = served.items()
            weight, other_weight = one[1].weight, other[1].weight
            assert abs(count / weight - other_count / other_weight) <= 1 / weight + 1 / other_weight
