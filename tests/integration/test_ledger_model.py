"""The ledger against a plain model of it: any moves in any order, clocks moved, on a real server.

The model says what each move must answer and what the server must hold after it, to the last key. What follows from
that but is said nowhere in the model is checked besides: a fence token is given once, an owner's jobs of one priority
start in the order they came, and flows that wait side by side are served in proportion to their weights.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, cast

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from redis import Redis

from shared.errors import IdempotencyMismatch, QueueFull
from shared.job import ALLOWED_MOVES, JobFailure, JobRequest, JobStatus, MaskFormat, Priority
from shared.result import ImageSize, SegmentationResult
from shared.settings import Settings
from shared.store import keys, leases, submissions
from shared.store.leases import Lease, LeaseStore, Outcome, Reaped
from shared.store.submissions import NewJob, SubmissionStore
from shared.webhook import Webhook
from tests.clock import START_MS, MovedClock, script_with_moved_clock
from tests.servers import embedded_broker

_MODEL = "demo"
_LEASE_MS = 10_000
_MOST_WAITING = 12
_MOST_LOSSES_ALONE = 3
_RESULT = SegmentationResult(image=ImageSize(width=1, height=1), objects=[], skipped=[], truncated=False, raw_text="x")
_OUTCOMES = {
    JobStatus.SUCCEEDED: Outcome(result=_RESULT),
    JobStatus.FAILED: Outcome(failure=JobFailure(type="inference_failed", detail="why")),
}


@dataclass(frozen=True)
class Wanted:
    """What a client asks for; equal ones may share an idempotency key."""

    owner: str
    priority: Priority
    image: bytes
    timeout_s: float | None
    webhook: Webhook | None


_WANTED = st.builds(
    Wanted,
    st.sampled_from(("ann", "bob")),
    st.sampled_from(Priority),
    st.sampled_from((b"cat", b"dog")),
    st.sampled_from((None, None, 15.0)),
    st.sampled_from((None, Webhook(url="https://example.com/hook", base_url="http://here/"))),
)


@dataclass
class Entry:
    """A job as the model sees it."""

    id: str
    wanted: Wanted
    place: float
    created_ms: int
    status: JobStatus = JobStatus.QUEUED
    attempt: int = 0
    fence: int = 0
    is_suspect: bool = False
    losses_alone: int = 0
    waits_at: float = 0.0
    """Its score among those that wait."""
    lease_until_ms: int = 0
    completed_ms: int | None = None
    error: str | None = None
    was_started: bool = False

    @property
    def flow(self) -> tuple[str, Priority]:
        return self.wanted.owner, self.wanted.priority

    @property
    def deadline_ms(self) -> int | None:
        timeout_s = self.wanted.timeout_s
        return None if timeout_s is None else self.created_ms + round(timeout_s * 1000)

    @property
    def is_ended(self) -> bool:
        return self.status.is_terminal


@dataclass
class Model:
    """What the ledger promises, without a server: every job there is, and the order of service."""

    now_ms: int = START_MS
    entries: dict[str, Entry] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    service_at: float = 0.0
    flows: dict[tuple[str, Priority], float] = field(default_factory=dict)

    def waiting(self, *, suspects: bool) -> list[Entry]:
        """Those that wait, in the order of service."""
        found = [each for each in self.of(JobStatus.QUEUED) if each.is_suspect == suspects]
        return sorted(found, key=lambda each: (each.waits_at, each.id))

    def of(self, status: JobStatus) -> list[Entry]:
        return [each for each in self.entries.values() if each.status is status]

    def accept(self, job_id: str, wanted: Wanted) -> None:
        flow = (wanted.owner, wanted.priority)
        place = max(self.service_at, self.flows.get(flow, 0.0))
        self.flows[flow] = place + 1 / wanted.priority.weight
        self.entries[job_id] = Entry(job_id, wanted, place, self.now_ms, waits_at=place)

    def next_for(self, *, hands_empty: bool) -> Entry | None:
        suspects = self.waiting(suspects=True)
        if suspects:
            return suspects[0] if hands_empty else None
        return next(iter(self.waiting(suspects=False)), None)

    def start(self, entry: Entry) -> None:
        entry.status = JobStatus.PROCESSING
        entry.attempt += 1
        entry.fence += 1
        entry.was_started = True
        entry.lease_until_ms = self.now_ms + _LEASE_MS
        if entry.is_suspect:
            return
        if self.waiting(suspects=False):
            self.service_at = max(self.service_at, entry.waits_at)
        else:
            self.service_at = 0.0
            self.flows.clear()

    def requeue(self, entry: Entry) -> None:
        entry.status = JobStatus.QUEUED
        entry.waits_at = min(entry.place, self.service_at)

    def end(self, entry: Entry, status: JobStatus, error: str | None) -> None:
        entry.status = status
        entry.error = error
        entry.completed_ms = self.now_ms
        if status is JobStatus.CANCELED:
            entry.fence += 1

    def reap(self) -> Reaped:
        given_back = failed = canceled = 0
        for entry in self.of(JobStatus.PROCESSING):
            if entry.lease_until_ms > self.now_ms:
                continue
            entry.losses_alone += entry.is_suspect
            if entry.losses_alone == _MOST_LOSSES_ALONE:
                self.end(entry, JobStatus.FAILED, "worker_lost")
                failed += 1
            else:
                entry.is_suspect = True
                self.requeue(entry)
                given_back += 1
        for entry in self.entries.values():
            if not entry.is_ended and entry.deadline_ms is not None and entry.deadline_ms <= self.now_ms:
                self.end(entry, JobStatus.CANCELED, "deadline_exceeded")
                canceled += 1
        return Reaped(given_back, failed, canceled)


class Fairness:
    """Counts who is served while flows wait side by side.

    Start-time fair queueing (Goyal, Vin, Cheng 1996, theorem 1): over any time in which two flows both have jobs
    waiting, what they are served, each over its weight, differs by at most one job of each over its weight.
    """

    def __init__(self) -> None:
        self._served: dict[frozenset[tuple[str, Priority]], dict[tuple[str, Priority], int]] = {}
        self._with_gaps: set[tuple[str, Priority]] = set()

    def on_canceled(self, entry: Entry) -> None:
        """A job withdrawn from the queue has taken a turn nobody sees: its flow is left out from here on."""
        self._with_gaps.add(entry.flow)

    def on_started(self, entry: Entry, waiting_before: list[Entry]) -> None:
        """A job began for the first time; `waiting_before` are those that had not begun by then, itself included."""
        backlogged = {each.flow for each in waiting_before} - self._with_gaps
        pairs = {frozenset(pair) for pair in combinations(backlogged, 2)}
        self._served = {pair: self._served.get(pair, dict.fromkeys(pair, 0)) for pair in pairs}
        for pair, served in self._served.items():
            if entry.flow in pair:
                served[entry.flow] += 1
            (one, count), (other, other_count) = served.items()
            weight, other_weight = one[1].weight, other[1].weight
            assert abs(count / weight - other_count / other_weight) <= 1 / weight + 1 / other_weight


class Ledger:
    """Both sides of the store, on a server whose clock the test moves."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self.front = SubmissionStore.connect(settings)
        self.leases = LeaseStore.connect(settings)
        self.redis = Redis.from_url(settings.redis_url, decode_responses=True)

    def close(self) -> None:
        self._runner.run(self.front.close())
        self._runner.close()
        self.leases.close()
        self.redis.close()

    def submit(self, job_id: str, wanted: Wanted, key: str) -> str:
        request = JobRequest(
            model_id=_MODEL, prompt="segment cat", mask_formats=(MaskFormat.RLE,), priority=wanted.priority
        )
        new = NewJob(job_id, request, wanted.image, wanted.owner, wanted.timeout_s, key, wanted.webhook)
        return self._runner.run(self.front.submit(new)).job.id

    def cancel(self, job_id: str) -> JobStatus:
        return self._runner.run(self.front.cancel(job_id))

    def scores(self, key: str) -> list[tuple[str, float]]:
        """A sorted set from its lowest score on."""
        return cast(list[tuple[str, float]], self.redis.zrange(key, 0, -1, withscores=True))


class LedgerMachine(RuleBasedStateMachine):
    """Makes the same moves in the ledger and in the model."""

    jobs: Bundle[str] = Bundle("jobs")
    given: Bundle[Lease] = Bundle("given")

    ledger: ClassVar[Ledger]

    def __init__(self) -> None:
        super().__init__()
        self._ledger = self.ledger
        self._model = Model()
        self._fairness = Fairness()
        self._fences: set[tuple[str, int]] = set()
        self._started: dict[tuple[str, Priority], str] = {}
        self._last_status: dict[str, JobStatus] = {}
        self._submitted = 0

    @initialize()
    def begin(self) -> None:
        self._ledger.redis.flushall()
        self._clock = MovedClock(self._ledger.redis)

    # --- Moves --------------------------------------------------------------------------------------------------------

    @rule(target=jobs, wanted=_WANTED, key=st.sampled_from(("", "", "", "key")))
    def submit(self, wanted: Wanted, key: str) -> Any:
        self._submitted += 1
        job_id = f"job-{self._submitted:04}"
        earlier = self._model.keys.get((wanted.owner, key)) if key else None
        if earlier is not None:
            self._submit_with_used_key(job_id, wanted, key, earlier)
            return multiple()
        if len(self._model.waiting(suspects=False)) >= _MOST_WAITING:
            with pytest.raises(QueueFull):
                self._ledger.submit(job_id, wanted, key)
            return multiple()
        assert self._ledger.submit(job_id, wanted, key) == job_id
        self._model.accept(job_id, wanted)
        if key:
            self._model.keys[wanted.owner, key] = job_id
        return job_id

    @rule(target=jobs, wanted=_WANTED, count=st.integers(2, 5))
    def submit_many(self, wanted: Wanted, count: int) -> Any:
        return multiple(*(each for _ in range(count) if isinstance(each := self.submit(wanted, ""), str)))

    def _submit_with_used_key(self, job_id: str, wanted: Wanted, key: str, earlier: str) -> None:
        if wanted == self._model.entries[earlier].wanted:
            assert self._ledger.submit(job_id, wanted, key) == earlier
        else:
            with pytest.raises(IdempotencyMismatch):
                self._ledger.submit(job_id, wanted, key)

    @rule(job_id=jobs)
    def submit_the_same_id_again(self, job_id: str) -> None:
        assert self._ledger.submit(job_id, self._model.entries[job_id].wanted, "") == job_id

    @rule(target=given, hands_empty=st.booleans())
    def claim(self, hands_empty: bool) -> Any:
        entry = self._model.next_for(hands_empty=hands_empty)
        lease = self._ledger.leases.claim(_MODEL, hands_empty=hands_empty)
        if entry is None:
            assert lease is None
            return multiple()
        assert lease is not None
        assert (lease.job.id, lease.image) == (entry.id, entry.wanted.image)
        assert (lease.job.id, lease.job.fence) not in self._fences
        self._fences.add((lease.job.id, lease.job.fence))
        self._note_first_start(entry)
        self._model.start(entry)
        assert (lease.job.fence, lease.job.attempt) == (entry.fence, entry.attempt)
        return lease

    @rule(target=given)
    def claim_with_empty_hands(self) -> Any:
        return self.claim(hands_empty=True)

    def _note_first_start(self, entry: Entry) -> None:
        if entry.was_started:
            return
        assert self._started.get(entry.flow, "") < entry.id
        self._started[entry.flow] = entry.id
        waiting = [each for each in self._model.waiting(suspects=False) if not each.was_started]
        self._fairness.on_started(entry, waiting)

    @rule(held=st.lists(given, max_size=4))
    def beat(self, held: list[Lease]) -> None:
        lost = self._ledger.leases.beat(_MODEL, "worker", held)
        assert lost == {lease.job.id for lease in held if not self._is_present(lease)}
        for lease in held:
            if self._is_present(lease):
                self._model.entries[lease.job.id].lease_until_ms = self._model.now_ms + _LEASE_MS

    @rule(lease=given, status=st.sampled_from(list(_OUTCOMES)))
    def finish(self, lease: Lease, status: JobStatus) -> None:
        is_present = self._is_present(lease)
        assert self._ledger.leases.finish(lease, _OUTCOMES[status]) == is_present
        if is_present:
            failure = _OUTCOMES[status].failure
            self._model.end(self._model.entries[lease.job.id], status, failure.type if failure else None)

    @rule(lease=given)
    def give_back(self, lease: Lease) -> None:
        is_present = self._is_present(lease)
        assert self._ledger.leases.give_back(lease) == is_present
        if is_present:
            entry = self._model.entries[lease.job.id]
            entry.attempt -= 1
            self._model.requeue(entry)

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        entry = self._model.entries[job_id]
        assert self._ledger.cancel(job_id) is entry.status
        if not entry.is_ended:
            self._fairness.on_canceled(entry)
            self._model.end(entry, JobStatus.CANCELED, None)

    @rule()
    def reap(self) -> None:
        before = [each for each in self._model.entries.values() if not each.is_ended]
        assert self._ledger.leases.reap(_MODEL) == self._model.reap()
        for entry in before:
            if entry.status is JobStatus.CANCELED:
                self._fairness.on_canceled(entry)

    @rule(seconds=st.sampled_from((0.001, 4.0, 10.0)))
    def let_time_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self._model.now_ms = self._clock.now_ms

    @rule()
    def lose_every_worker(self) -> None:
        """All that is in hand is lost; as a move of its own, because poison needs four of these in a row."""
        self.let_time_pass(_LEASE_MS / 1000)
        self.reap()

    def _is_present(self, lease: Lease) -> bool:
        entry = self._model.entries[lease.job.id]
        return entry.status is JobStatus.PROCESSING and entry.fence == lease.job.fence

    # --- What must hold after every move ------------------------------------------------------------------------------

    @invariant()
    def every_job_is_in_the_one_place_of_its_state(self) -> None:
        model = self._model
        ready = [(each.id, each.waits_at) for each in model.waiting(suspects=False)]
        suspects = [(each.id, each.waits_at) for each in model.waiting(suspects=True)]
        running = {each.id: each.lease_until_ms for each in model.of(JobStatus.PROCESSING)}
        deadlines = {
            each.id: each.deadline_ms
            for each in model.entries.values()
            if not each.is_ended and each.deadline_ms is not None
        }
        assert self._ledger.scores(keys.ready(_MODEL)) == ready
        assert self._ledger.scores(keys.suspects(_MODEL)) == suspects
        assert dict(self._ledger.scores(keys.running(_MODEL))) == running
        assert dict(self._ledger.scores(keys.DEADLINES)) == deadlines

    @invariant()
    def figures_are_those_of_the_model(self) -> None:
        model = self._model
        for priority in Priority:
            waiting = {each.id: each.created_ms for each in model.of(JobStatus.QUEUED) if each.flow[1] is priority}
            assert dict(self._ledger.scores(keys.waiting(_MODEL, priority))) == waiting
        counted = self._ledger.redis.hgetall(keys.counts(_MODEL))
        assert int(counted.get("accepted", 0)) == len(model.entries)
        for status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED):
            assert int(counted.get(status, 0)) == len(model.of(status))

    @invariant()
    def every_record_is_what_the_model_says(self) -> None:
        assert set(self._ledger.redis.keys(keys.job("*"))) == {keys.job(job_id) for job_id in self._model.entries}
        for entry in self._model.entries.values():
            record = self._ledger.redis.hgetall(keys.job(entry.id))
            error = json.loads(record["error"])["type"] if "error" in record else None
            completed = record.get("completed_at_ms")
            assert (
                record["status"],
                int(record.get("attempt", 0)),
                int(record.get("fence", 0)),
                record.get("suspect", "0") == "1",
                int(record.get("losses_alone", 0)),
                error,
                None if completed is None else int(completed),
            ) == (
                entry.status,
                entry.attempt,
                entry.fence,
                entry.is_suspect,
                entry.losses_alone,
                entry.error,
                entry.completed_ms,
            )

    @invariant()
    def only_what_has_ended_can_expire_and_only_success_has_a_result(self) -> None:
        redis = self._ledger.redis
        for entry in self._model.entries.values():
            assert (redis.ttl(keys.job(entry.id)) == -1) == (not entry.is_ended)
            assert bool(redis.exists(keys.tombstone(entry.id))) == entry.is_ended
            assert bool(redis.exists(keys.result(entry.id))) == (entry.status is JobStatus.SUCCEEDED)

    @invariant()
    def every_end_of_a_job_with_a_webhook_is_to_be_delivered_and_nothing_else(self) -> None:
        ended = {
            each.id: each.completed_ms for each in self._model.entries.values() if each.is_ended and each.wanted.webhook
        }
        assert dict(self._ledger.scores(keys.deliveries("example.com"))) == ended
        assert set(self._ledger.redis.keys(keys.delivery("*"))) == {keys.delivery(job_id) for job_id in ended}
        first = [("example.com", min(ms for ms in ended.values() if ms is not None))] if ended else []
        assert self._ledger.scores(keys.DELIVERY_HOSTS) == first

    @invariant()
    def only_allowed_moves_are_made(self) -> None:
        for job_id in self._model.entries:
            status = JobStatus(str(self._ledger.redis.hget(keys.job(job_id), "status")))
            before = self._last_status.get(job_id, status)
            assert status is before or status in ALLOWED_MOVES[before]
            self._last_status[job_id] = status


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger whose scripts ask the test for the time."""
    folder: Path = tmp_path_factory.mktemp("model")
    with embedded_broker(folder) as url, pytest.MonkeyPatch.context() as patch:
        for side in (submissions, leases):
            patch.setattr(side, "script", script_with_moved_clock)
        ledger = Ledger(
            Settings(
                redis_url=url,
                lease_s=_LEASE_MS / 1000,
                restart_grace_s=0,
                max_queued_jobs=_MOST_WAITING,
            )
        )
        yield ledger
        ledger.close()


def test_any_moves_in_any_order_leave_the_ledger_as_the_model_says(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LedgerMachine, "ledger", ledger, raising=False)
    run_machine(
        LedgerMachine,
        settings=hypothesis_settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
