"""Deliveries compared with a simple model: any operations in any order, with changed clocks, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from redis import Redis

from shared.domain.webhook import Attempt, DeliveryState, Webhook
from shared.settings import Settings
from shared.store import key_names
from shared.store.deliveries import DeliveryLease, DeliveryStore, Verdict
from shared.store.submissions import SubmissionStore
from testing.factories import new_job
from testing.servers import embedded_broker
from tests.clock import MovedClock, patch_clock
from tests.machines import run_machine

pytestmark = pytest.mark.slow

_HOSTS = ("a.example", "b.example", "c.example")
_CLIENTS = ("ann", "bob", "cy")
_LEASE_MS = 30_000
_RETENTION_MS = 1_000_000
_ATTEMPT = Attempt(at_ms=0, duration_s=0, status=500)


@dataclass
class Entry:
    """A delivery in the model."""

    job_id: str
    client: str
    host: str
    expires_ms: int
    due_ms: int
    state: DeliveryState = DeliveryState.PENDING
    token: str = ""
    """That of the present claim; empty if there is none."""
    attempts: int = 0
    recorded: int = 0
    recorded_token: str = ""
    """That of the claim whose attempt was recorded last."""


class DeliveryMachine(RuleBasedStateMachine):
    """Makes the same operations in the store and in the model."""

    jobs: Bundle[str] = Bundle("jobs")
    given: Bundle[DeliveryLease] = Bundle("given")

    redis: ClassVar[Redis]
    settings: ClassVar[Settings]

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._front = SubmissionStore.connect(self.settings)
        self._store = DeliveryStore.connect(self.settings)
        self._entries: dict[str, Entry] = {}
        self._tokens: set[str] = set()
        self._clients: dict[str, int] = {}
        """When each client with pending deliveries is due, in milliseconds."""

    def teardown(self) -> None:
        self._runner.run(self._front.close())
        self._runner.run(self._store.close())
        self._runner.close()

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self._clock = MovedClock(self.redis)

    # --- Operations ---------------------------------------------------------------------------------------------------

    @rule(target=jobs, client=st.sampled_from(_CLIENTS), host=st.sampled_from(_HOSTS))
    def end_a_job(self, client: str, host: str) -> str:
        job_id = f"job-{len(self._entries):04}"
        webhook = Webhook(url=f"https://{host}/hook", base_url="http://here/")
        self._runner.run(self._front.submit(new_job(id=job_id, webhook=webhook, client=client)))
        self._runner.run(self._front.cancel(job_id))
        now_ms = self._clock.now_ms
        self._entries[job_id] = Entry(job_id, client, host, expires_ms=now_ms + _RETENTION_MS, due_ms=now_ms)
        self._refresh(client)
        return job_id

    @rule(
        target=given,
        full_hosts=st.sets(st.sampled_from(_HOSTS), max_size=2),
        full_clients=st.sets(st.sampled_from(_CLIENTS), max_size=2),
    )
    def claim(self, full_hosts: set[str], full_clients: set[str]) -> Any:
        lease = self._runner.run(self._store.claim(full_hosts, full_clients))
        entry = self._next_for(full_hosts, full_clients)
        if entry is None:
            assert lease is None
            return multiple()
        assert lease is not None
        entry.token = lease.token
        entry.due_ms = self._clock.now_ms + _LEASE_MS
        self._refresh(entry.client)
        assert (lease.subject.id, lease.attempts) == (entry.job_id, entry.attempts)
        assert (lease.webhook.host, lease.claimed_at_ms) == (entry.host, self._clock.now_ms)
        assert lease.token not in self._tokens
        self._tokens.add(lease.token)
        return lease

    def _next_for(self, full_hosts: set[str], full_clients: set[str]) -> Entry | None:
        """The delivery that is claimed next. A client all of whose due deliveries are to full hosts goes to the end."""
        now_ms = self._clock.now_ms
        for score_ms, client in sorted((score_ms, client) for client, score_ms in self._clients.items()):
            if score_ms > now_ms or client in full_clients:
                continue
            due = [each for each in self._pending() if each.client == client and each.due_ms <= now_ms]
            if ready := [each for each in due if each.host not in full_hosts]:
                first = {each.host: each.due_ms for each in sorted(due, key=lambda each: -each.due_ms)}
                return min(ready, key=lambda each: (first[each.host], each.host, each.due_ms, each.job_id))
            self._clients[client] = now_ms
        return None

    def _refresh(self, client: str) -> None:
        """A client is due when the first of its deliveries is."""
        due_ms = [each.due_ms for each in self._pending() if each.client == client]
        self._clients.pop(client, None)
        if due_ms:
            self._clients[client] = min(due_ms)

    @rule(lease=given, state=st.sampled_from(DeliveryState), retry_in_s=st.sampled_from((0.0, 5.0, 300.0, 1_000.0)))
    def record(self, lease: DeliveryLease, state: DeliveryState, retry_in_s: float) -> None:
        entry = self._entries[lease.subject.id]
        recorded = self._runner.run(self._store.record(lease, _ATTEMPT, Verdict(state, retry_in_s)))
        if lease.token != entry.token:
            assert recorded is (entry.state if lease.token == entry.recorded_token else None)
            return
        due_ms = self._clock.now_ms + round(1000 * retry_in_s)
        is_too_late = state is DeliveryState.PENDING and due_ms >= entry.expires_ms
        entry.state = DeliveryState.FAILED if is_too_late else state
        entry.due_ms = due_ms
        entry.recorded_token, entry.token = entry.token, ""
        entry.attempts += 1
        entry.recorded += 1
        self._refresh(entry.client)
        assert recorded is entry.state

    @rule(lease=given)
    def keep(self, lease: DeliveryLease) -> None:
        entry = self._entries[lease.subject.id]
        kept = self._runner.run(self._store.keep(lease))
        if lease.token != entry.token:
            assert kept is None
            return
        assert kept is not None
        assert (kept.token, kept.claimed_at_ms) == (lease.token, self._clock.now_ms)
        entry.due_ms = self._clock.now_ms + _LEASE_MS
        self._refresh(entry.client)

    @rule(job_id=jobs)
    def redeliver(self, job_id: str) -> None:
        self._runner.run(self._store.redeliver(job_id))
        entry = self._entries[job_id]
        entry.state, entry.due_ms, entry.attempts = DeliveryState.PENDING, self._clock.now_ms, 0
        entry.token = ""
        self._refresh(entry.client)

    @rule(seconds=st.sampled_from((0.001, 5.0, 30.0, 300.0)))
    def let_time_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)

    # --- Invariants ---------------------------------------------------------------------------------------------------

    def _pending(self) -> list[Entry]:
        return [each for each in self._entries.values() if each.state is DeliveryState.PENDING]

    @invariant()
    def only_pending_deliveries_are_in_the_queue(self) -> None:
        for client in _CLIENTS:
            hosts = {}
            for host in _HOSTS:
                lane = {
                    each.job_id: each.due_ms for each in self._pending() if (each.client, each.host) == (client, host)
                }
                assert dict(self._scores(key_names.deliveries(f"{host} {client}"))) == lane
                if lane:
                    hosts[host] = min(lane.values())
            assert dict(self._scores(key_names.delivery_hosts(client))) == hosts
        assert dict(self._scores(key_names.DELIVERY_CLIENTS)) == self._clients

    def _scores(self, key: str) -> Any:
        return self.redis.zrange(key, 0, -1, withscores=True)

    @invariant()
    def every_delivery_reads_as_the_model_says(self) -> None:
        for entry in self._entries.values():
            delivery = self._runner.run(self._store.read(entry.job_id))
            assert delivery is not None
            assert (delivery.state, len(delivery.attempts)) == (entry.state, min(entry.recorded, 20))
            is_pending = entry.state is DeliveryState.PENDING
            assert delivery.next_attempt_at_ms == (entry.due_ms if is_pending else None)

    @invariant()
    def every_key_of_a_delivery_expires(self) -> None:
        for entry in self._entries.values():
            assert self.redis.ttl(key_names.delivery(entry.job_id)) > 0
            assert (self.redis.ttl(key_names.attempts(entry.job_id)) > 0) == (entry.recorded > 0)


@pytest.fixture(scope="module")
def moved_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A server whose scripts get the time from the test."""
    folder: Path = tmp_path_factory.mktemp("model")
    with embedded_broker(folder) as url, pytest.MonkeyPatch.context() as patch:
        patch_clock(patch)
        with Redis.from_url(url, decode_responses=True) as redis:
            yield redis


def test_deliveries_match_the_model_after_any_operations_in_any_order(
    moved_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = moved_redis.connection_pool.connection_kwargs["port"]
    settings = Settings.of(
        redis_url=f"redis://127.0.0.1:{port}/0",
        webhook_timeout_s=_LEASE_MS / 2000,
        retention_s=_RETENTION_MS // 1000,
        max_queued_jobs=1_000,
    )
    monkeypatch.setattr(DeliveryMachine, "redis", moved_redis, raising=False)
    monkeypatch.setattr(DeliveryMachine, "settings", settings, raising=False)
    run_machine(DeliveryMachine)
