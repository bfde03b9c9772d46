"""The ledger against a plain model: any commands in any order at any time, on a real server.

The model defines the result of each command, and every key on the server after it. Three consequences are checked
besides: a fence token is given once, an owner's jobs of one priority start in the order of submission, and flows with
jobs waiting at the same time are served in proportion to their weights.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, cast

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from redis import Redis

from shared.domain.job import ALLOWED_TRANSITIONS, JobStatus, Priority
from shared.domain.webhook import Webhook
from shared.errors import IdempotencyMismatch, JobDeleted, QueueFull, ShareExceeded
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import Lease
from testing.servers import embedded_broker
from tests.clock import MovedClock, patch_clock
from tests.integration.ledger.deployment import FAILURE, MODEL, SUCCESS, Deployment
from tests.integration.ledger.model import LEASE_MS, Entry, Fairness, Model, Wanted
from tests.machines import run_machine

pytestmark = pytest.mark.slow

_MAX_WAITING = 12
_NO_EXPIRY, _MISSING = -1, -2
"""What TTL returns for a key that does not expire, and for one that does not exist."""
_REFUSALS: dict[str, type[Exception]] = {"share": ShareExceeded, "full": QueueFull}
_OUTCOMES = {JobStatus.SUCCEEDED: SUCCESS, JobStatus.FAILED: FAILURE}

_WANTED = st.builds(
    Wanted,
    st.sampled_from(("ann", "bob")),
    st.sampled_from(("c1", "c2", "c3")),
    st.sampled_from(Priority),
    st.sampled_from((b"cat", b"dog")),
    st.sampled_from((None, None, 15.0)),
    st.sampled_from((None, Webhook(url="https://example.com/hook", base_url="http://here/"))),
)

_WORKERS = st.sampled_from(("w1", "w2", ""))
"""Empty: a worker of an older version, which does not say who it is."""


class LedgerMachine(RuleBasedStateMachine):
    """Gives the same commands to the ledger and to the model."""

    jobs: Bundle[str] = Bundle("jobs")
    claimed: Bundle[Lease] = Bundle("claimed")

    ledger: ClassVar[Deployment]
    redis: ClassVar[Redis]

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()
        self._fairness = Fairness()
        self._leases: dict[str, Lease] = {}
        self._finished: dict[str, JobStatus] = {}
        """How each job ended, by the token of the claim that finished it."""
        self._started: dict[tuple[str, Priority], str] = {}
        self._last_status: dict[str, JobStatus] = {}
        self._submitted = 0

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self._clock = MovedClock(self.redis)

    # --- Commands -----------------------------------------------------------------------------------------------------

    @rule(target=jobs, wanted=_WANTED, key=st.sampled_from(("", "", "", "key")))
    def submit(self, wanted: Wanted, key: str) -> Any:
        self._submitted += 1
        job_id = f"job-{self._submitted:04}"
        earlier = self._model.keys.get((wanted.owner, key)) if key else None
        if earlier is not None:
            self._submit_with_used_key(job_id, wanted, key, earlier)
            return multiple()
        if refusal := self._model.is_refused(wanted, _MAX_WAITING):
            with pytest.raises(_REFUSALS[refusal]):
                self._submit(job_id, wanted, key)
            return multiple()
        assert self._submit(job_id, wanted, key) == job_id
        self._model.accept(job_id, wanted)
        if key:
            self._model.keys[wanted.owner, key] = job_id
        return job_id

    @rule(target=jobs, wanted=_WANTED, count=st.integers(2, 5))
    def submit_many(self, wanted: Wanted, count: int) -> Any:
        return multiple(*(each for _ in range(count) if isinstance(each := self.submit(wanted, ""), str)))

    def _submit_with_used_key(self, job_id: str, wanted: Wanted, key: str, earlier: str) -> None:
        is_deleted = earlier in self._model.deleted
        if wanted != {**self._model.entries, **self._model.deleted}[earlier].wanted:
            with pytest.raises(IdempotencyMismatch):
                self._submit(job_id, wanted, key)
        elif is_deleted:
            with pytest.raises(JobDeleted):
                self._submit(job_id, wanted, key)
        else:
            assert self._submit(job_id, wanted, key) == earlier

    def _submit(self, job_id: str, wanted: Wanted, key: str = "") -> str:
        return self.ledger.submit(job_id, idempotency_key=key, **vars(wanted))

    @rule(job_id=jobs)
    def submit_the_same_id_again(self, job_id: str) -> None:
        if job_id in self._model.entries:
            assert self._submit(job_id, self._model.entries[job_id].wanted) == job_id

    @rule(target=claimed, is_idle=st.booleans(), full=st.sets(st.sampled_from(("c1", "c2", "c3"))), worker=_WORKERS)
    def claim(self, is_idle: bool, full: set[str], worker: str) -> Any:
        entry = self._model.next_for(is_idle=is_idle, full_clients=full)
        self.ledger.leases.worker_id = worker
        lease = self.ledger.leases.claim(MODEL, is_idle=is_idle, full_clients=full)
        if entry is None:
            assert lease is None
            return multiple()
        assert lease is not None
        assert (lease.job.id, lease.image) == (entry.id, entry.wanted.image)
        assert lease.job.token not in self._leases
        self._leases[lease.job.token] = lease
        self._check_first_start(entry, full)
        self._model.start(entry, worker)
        assert (lease.job.fence, lease.job.attempt) == (entry.fence, entry.attempt)
        return lease

    @rule(target=claimed, worker=_WORKERS)
    def claim_while_idle(self, worker: str) -> Any:
        return self.claim(is_idle=True, full=set(), worker=worker)

    def _check_first_start(self, entry: Entry, full: set[str]) -> None:
        if entry.was_started:
            return
        assert self._started.get(entry.flow, "") < entry.id
        self._started[entry.flow] = entry.id
        waiting = [each for each in self._model.waiting(quarantined=False) if not each.was_started]
        passed_over = {each.flow for each in waiting if each.wanted.client in full}
        self._fairness.on_charged([*self._model.charges, *passed_over])
        self._fairness.on_started(entry, waiting)

    @rule(leases=st.lists(claimed, max_size=4))
    def heartbeat(self, leases: list[Lease]) -> None:
        lost = self.ledger.leases.heartbeat(MODEL, "worker", leases)
        assert lost == {each.job.id for each in leases if not self._is_present(each) and self._end_by(each) is None}
        for lease in leases:
            if self._is_present(lease):
                self._model.entries[lease.job.id].lease_until_ms = self._model.now_ms + LEASE_MS

    @rule()
    def heartbeat_with_every_lease_so_far(self) -> None:
        self.heartbeat(list(self._leases.values()))

    @rule(lease=claimed, status=st.sampled_from(list(_OUTCOMES)))
    def finish(self, lease: Lease, status: JobStatus) -> None:
        is_present = self._is_present(lease)
        assert self.ledger.leases.finish(lease, _OUTCOMES[status]) == (is_present or self._end_by(lease) is status)
        if is_present:
            self._finished[lease.job.token] = status
            failure = _OUTCOMES[status].failure
            self._model.finish(self._model.entries[lease.job.id], status, failure.type if failure else None)

    @rule(status=st.sampled_from(list(_OUTCOMES)))
    def finish_the_latest(self, status: JobStatus) -> None:
        """A rule of its own, because most of the leases so far are stale."""
        if self._leases:
            self.finish(list(self._leases.values())[-1], status)

    @rule(lease=claimed)
    def release(self, lease: Lease) -> None:
        is_present = self._is_present(lease)
        assert self.ledger.leases.release(lease) == is_present
        if is_present:
            entry = self._model.entries[lease.job.id]
            entry.attempt -= 1
            self._model.requeue(entry)

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        if job_id in self._model.deleted:
            with pytest.raises(JobDeleted):
                self.ledger.cancel(job_id)
            return
        entry = self._model.entries[job_id]
        assert self.ledger.cancel(job_id) is entry.status
        if not entry.is_ended:
            self._fairness.on_canceled(entry)
            self._model.end(entry, JobStatus.CANCELED, None)

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        if job_id in self._model.deleted:
            with pytest.raises(JobDeleted):
                self.ledger.delete(job_id)
            return
        self.ledger.delete(job_id)
        entry = self._model.entries[job_id]
        self._fairness.on_canceled(entry)
        self._model.delete(entry)

    @rule()
    def reap(self) -> None:
        self._reap("")

    @rule(worker=st.sampled_from(("w1", "w2")))
    def reap_a_worker_that_has_ended(self, worker: str) -> None:
        self._reap(worker)

    def _reap(self, worker: str) -> None:
        before = [each for each in self._model.entries.values() if not each.is_ended]
        leases = self.ledger.leases
        assert (leases.reap_worker(MODEL, worker) if worker else leases.reap(MODEL)) == self._model.reap(worker)
        for entry in before:
            if entry.status is JobStatus.CANCELED:
                self._fairness.on_canceled(entry)

    @rule(seconds=st.sampled_from((0.001, 4.0, 10.0)))
    def let_time_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self._model.now_ms = self._clock.now_ms

    @rule()
    def lose_every_worker(self) -> None:
        """Every claimed job is lost. A rule of its own, because a job fails only after four of these in a row."""
        self.let_time_pass(LEASE_MS / 1000)
        self.reap()

    def _is_present(self, lease: Lease) -> bool:
        entry = self._model.entries.get(lease.job.id)
        return entry is not None and entry.status is JobStatus.PROCESSING and entry.fence == lease.job.fence

    def _end_by(self, lease: Lease) -> JobStatus | None:
        """How this claim has ended its job, if it has and the job is there."""
        return self._finished.get(lease.job.token) if lease.job.id in self._model.entries else None

    # --- Invariants ---------------------------------------------------------------------------------------------------

    def _scores(self, key: str) -> list[tuple[str, float]]:
        """Members and scores of a sorted set, lowest score first."""
        return cast(list[tuple[str, float]], self.redis.zrange(key, 0, -1, withscores=True))

    @invariant()
    def every_job_is_in_exactly_the_sets_of_its_state(self) -> None:
        model = self._model
        ready = [(each.id, each.position) for each in model.waiting(quarantined=False)]
        quarantined = [(each.id, each.position) for each in model.waiting(quarantined=True)]
        running = {each.id: each.lease_until_ms for each in model.of(JobStatus.PROCESSING)}
        deadlines = {
            each.id: each.deadline_ms
            for each in model.entries.values()
            if not each.is_ended and each.deadline_ms is not None
        }
        assert self._scores(key_names.ready(MODEL)) == ready
        assert self._scores(key_names.quarantine(MODEL)) == quarantined
        assert dict(self._scores(key_names.running(MODEL))) == running
        assert dict(self._scores(key_names.DEADLINES)) == deadlines

    @invariant()
    def clients_are_counted_and_charged_as_the_model_says(self) -> None:
        model = self._model
        waiting = {client: str(number) for client, number in model.waiting_of_clients().items()}
        assert self.redis.hgetall(key_names.waiting_clients(MODEL)) == waiting
        charges = cast(dict[str, str], self.redis.hgetall(key_names.charges(MODEL)))
        expected = {f"{priority}:{client}": charge for (client, priority), charge in model.charges.items()}
        assert {flow: float(charge) for flow, charge in charges.items()} == expected
        kept = [each for each in model.entries.values() if each.status not in (JobStatus.FAILED, JobStatus.CANCELED)]
        stored = Counter[str]()
        for entry in kept:
            stored.update({name: len(entry.wanted.image) for name in (entry.wanted.client, "total")})
        assert {name: int(size) for name, size in self.redis.hgetall(key_names.IMAGE_BYTES).items()} == stored
        assert self.redis.zcard(key_names.IMAGES) == len(kept)

    @invariant()
    def a_stale_lease_has_no_effect(self) -> None:
        """An invariant, because few leases are stale while their job is queued or claimed by another worker."""
        for lease in self._leases.values():
            entry = self._model.entries.get(lease.job.id)
            if (entry is None or not entry.is_ended) and not self._is_present(lease):
                assert not self.ledger.leases.finish(lease, SUCCESS)
                assert not self.ledger.leases.release(lease)
                assert self.ledger.leases.heartbeat(MODEL, "worker", [lease]) == {lease.job.id}

    @invariant()
    def stats_equal_those_of_the_model(self) -> None:
        model = self._model
        for priority in Priority:
            waiting = {each.id: each.created_ms for each in model.of(JobStatus.QUEUED) if each.flow[1] is priority}
            assert dict(self._scores(key_names.waiting(MODEL, priority))) == waiting
        counted = self.redis.hgetall(key_names.counts(MODEL))
        assert int(counted.get("accepted", 0)) == len(model.entries) + len(model.deleted)
        for status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED):
            assert int(counted.get(status, 0)) == model.ended_ever(status)

    @invariant()
    def every_record_equals_that_of_the_model(self) -> None:
        assert set(self.redis.keys(key_names.job("*"))) == {key_names.job(job_id) for job_id in self._model.entries}
        for entry in self._model.entries.values():
            record = self.redis.hgetall(key_names.job(entry.id))
            error = json.loads(record["error"])["type"] if "error" in record else None
            completed = record.get("completed_at_ms")
            assert (
                record["status"],
                int(record.get("attempt", 0)),
                int(record.get("fence", 0)),
                record.get("quarantined", "0") == "1",
                int(record.get("losses_alone", 0)),
                error,
                None if completed is None else int(completed),
            ) == (
                entry.status,
                entry.attempt,
                entry.fence,
                entry.is_quarantined,
                entry.losses_alone,
                entry.error,
                entry.completed_ms,
            )

    @invariant()
    def only_ended_jobs_expire_and_only_successful_ones_have_results(self) -> None:
        for entry in self._model.entries.values():
            names = (key_names.job, key_names.image, key_names.result, key_names.tombstone)
            record, image, result, tombstone = (self.redis.ttl(name(entry.id)) for name in names)
            has_result = entry.status is JobStatus.SUCCEEDED
            assert (result > 0) if has_result else (result == _MISSING)
            if entry.is_ended:
                assert record > 0
                assert (image > 0) if has_result else (image == _MISSING)
                assert tombstone > record
            else:
                assert (record, image, tombstone) == (_NO_EXPIRY, _NO_EXPIRY, _MISSING)

    @invariant()
    def exactly_the_ended_jobs_with_a_webhook_have_a_delivery(self) -> None:
        ended: dict[str, dict[str, int | None]] = {}
        for each in self._model.entries.values():
            if each.is_ended and each.wanted.webhook:
                ended.setdefault(each.wanted.client, {})[each.id] = each.completed_ms
        for client, deliveries in ended.items():
            assert dict(self._scores(key_names.deliveries(f"example.com {client}"))) == deliveries
            first = min(ms for ms in deliveries.values() if ms is not None)
            assert self._scores(key_names.delivery_hosts(client)) == [("example.com", first)]
            assert self.redis.zscore(key_names.DELIVERY_CLIENTS, client) == first
        assert self.redis.zcard(key_names.DELIVERY_CLIENTS) == len(ended)
        ids = {job_id for deliveries in ended.values() for job_id in deliveries}
        assert set(self.redis.keys(key_names.delivery("*"))) == {key_names.delivery(job_id) for job_id in ids}

    @invariant()
    def only_allowed_transitions_are_made(self) -> None:
        for job_id in self._model.entries:
            status = JobStatus(str(self.redis.hget(key_names.job(job_id), "status")))
            before = self._last_status.get(job_id, status)
            assert status is before or status in ALLOWED_TRANSITIONS[before]
            self._last_status[job_id] = status


def test_after_any_commands_in_any_order_the_ledger_equals_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_clock(monkeypatch)
    with embedded_broker(tmp_path) as url, Redis.from_url(url, decode_responses=True) as redis:
        liveness = {"heartbeat_s": 1, "give_up_s": 5, "lease_s": LEASE_MS / 1000, "restart_grace_s": 0}
        settings = Settings.of(redis_url=url, max_queued_jobs=_MAX_WAITING, **liveness)
        with closing(Deployment(settings)) as ledger:
            monkeypatch.setattr(LedgerMachine, "ledger", ledger, raising=False)
            monkeypatch.setattr(LedgerMachine, "redis", redis, raising=False)
            run_machine(LedgerMachine)
