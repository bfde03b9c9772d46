"""What a failover forgets: a replica takes over that did not get the latest transitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import TypeVar

import pytest
from redis import Redis

from shared.domain.api_key import Charge, RequestKind, Scope, fingerprint
from shared.domain.job import JobStatus
from shared.domain.webhook import Attempt, DeliveryState, Webhook
from shared.settings import Settings
from shared.store.api_keys import Admission, ApiKeyStore
from shared.store.deliveries import DeliveryLease, DeliveryStore, Verdict
from shared.store.leases import Reaped
from testing.factories import segmentation_result, success
from testing.replication import ReplicatedServers
from tests.clock import MovedClock, patch_clock
from tests.integration.ledger.deployment import FAILURE, MODEL, RESULT, SUCCESS, Deployment
from webhooks.message import signed_message

pytestmark = pytest.mark.slow

_T = TypeVar("_T")
_WEBHOOK = Webhook(url="https://example.com/hook", base_url="http://here/")
_ATTEMPT = Attempt(at_ms=0, duration_s=0, status=500)
_LATER = segmentation_result(raw_text="the second time")


@pytest.fixture
def servers(replicated_servers: ReplicatedServers) -> ReplicatedServers:
    return replicated_servers


def _settings(url: str) -> Settings:
    return Settings.of(redis_url=url, restart_grace_s=0)


@pytest.fixture
def before(servers: ReplicatedServers) -> Iterator[Deployment]:
    """What uses the primary until the failover."""
    with closing(Deployment(_settings(servers.primary_url))) as deployment:
        deployment.leases.worker_id = "first"
        yield deployment


@pytest.fixture
def after(servers: ReplicatedServers) -> Iterator[Deployment]:
    """What uses the server that takes over."""
    with closing(Deployment(_settings(servers.replica_url))) as deployment:
        deployment.leases.worker_id = "second"
        yield deployment


def test_the_holder_of_a_forgotten_claim_can_change_nothing_once_another_worker_has_the_job(
    servers: ReplicatedServers, before: Deployment, after: Deployment
) -> None:
    job_id = before.submit()
    servers.cut_off()
    first = before.claim()
    servers.promote()
    assert not after.leases.finish(first, FAILURE)  # the job is queued
    second = after.claim()
    assert (first.job.id, first.job.fence) == (second.job.id, second.job.fence)  # the count has come twice
    assert after.leases.heartbeat(MODEL, "first", [first]) == {job_id}
    assert not after.leases.release(first)
    assert not after.leases.finish(first, FAILURE)
    assert after.leases.reap_worker(MODEL, "first").released == 0
    assert after.job(job_id).status is JobStatus.PROCESSING
    assert after.leases.heartbeat(MODEL, "second", [second]) == set()
    assert after.leases.finish(second, SUCCESS)


def test_a_version_of_a_job_never_comes_twice(
    servers: ReplicatedServers, before: Deployment, after: Deployment
) -> None:
    batch_id, job_id = before.begin_batch().id, before.submit_to("b", 0)
    servers.cut_off()
    first = before.claim()
    running = before.job(job_id).version
    before.leases.finish(first, SUCCESS)
    known = {running, before.job(job_id).version}
    known_batch = before.batch(batch_id).versions
    servers.promote()
    second = after.claim()
    assert after.job(job_id).version not in known
    after.leases.finish(second, SUCCESS)
    assert after.job(job_id).version not in known
    assert after.batch(batch_id).versions != known_batch


def test_a_job_whose_end_is_forgotten_runs_again_and_the_second_result_stands(
    servers: ReplicatedServers, before: Deployment, after: Deployment
) -> None:
    job_id = before.submit(webhook=_WEBHOOK)
    first = before.claim()
    servers.cut_off()
    assert before.leases.finish(first, SUCCESS)
    told = _claimed_delivery(servers.primary_url)
    servers.promote()
    assert after.job(job_id).status is JobStatus.PROCESSING
    assert after.leases.reap_worker(MODEL, "first").released == 1
    second = after.claim()
    assert not after.leases.finish(first, SUCCESS)
    assert after.leases.finish(second, success(result=_LATER))
    assert (before.result(job_id), after.result(job_id)) == (RESULT, _LATER)
    told_again = _claimed_delivery(servers.replica_url)
    assert _message_id(told) == _message_id(told_again)


def test_a_job_whose_cancel_is_forgotten_ends_once_by_its_holder_or_by_another(
    servers: ReplicatedServers, before: Deployment, after: Deployment
) -> None:
    for _ in range(2):
        before.submit()
    kept, left = before.claim(), before.claim(is_idle=False)
    servers.cut_off()
    for lease in (kept, left):
        before.cancel(lease.job.id)
        assert not before.leases.finish(lease, SUCCESS)
    canceled = before.job(kept.job.id).version
    servers.promote()
    assert after.leases.finish(kept, SUCCESS)
    assert after.job(kept.job.id).version != canceled
    assert after.leases.reap_worker(MODEL, "first").released == 1
    second = after.claim()
    assert not after.leases.finish(left, SUCCESS)
    assert after.leases.finish(second, SUCCESS)


def test_the_holder_of_a_forgotten_claim_of_a_delivery_records_nothing_once_another_has_it(
    servers: ReplicatedServers, before: Deployment, after: Deployment
) -> None:
    before.cancel(before.submit(webhook=_WEBHOOK))
    servers.cut_off()
    first = _claimed_delivery(servers.primary_url)
    servers.promote()
    second = _claimed_delivery(servers.replica_url)
    assert first.subject.id == second.subject.id
    assert _record(servers.replica_url, first) is None
    assert _record(servers.replica_url, second) is DeliveryState.DELIVERED


def test_a_rate_is_not_used_up_for_longer_if_the_clock_of_the_server_that_takes_over_is_behind(
    servers: ReplicatedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_clock(monkeypatch)
    secret = _new_key(servers.primary_url, per_minute=1, burst=2)
    with Redis.from_url(servers.primary_url) as redis:
        MovedClock(redis).advance(3600)
        assert [_admit(servers.primary_url, secret).remaining for _ in range(2)] == [1, 0]
        assert _admit(servers.primary_url, secret).retry_after_s == 60
    servers.cut_off()
    servers.promote()
    with Redis.from_url(servers.replica_url) as redis:
        clock = MovedClock(redis)
        refused = _admit(servers.replica_url, secret)
        assert (refused.is_within_rate, refused.retry_after_s, refused.refilled_s) == (False, 60, 120)
        clock.advance(60)
        assert _admit(servers.replica_url, secret).is_within_rate


def test_a_server_that_takes_over_reaps_nothing_before_workers_had_time_to_reconnect(
    servers: ReplicatedServers,
) -> None:
    settings = _settings(servers.primary_url).replace(heartbeat_s=0.01, give_up_s=0.02, lease_s=0.05)
    patient = settings.replace(restart_grace_s=2)
    replica = patient.replace(redis_url=servers.replica_url)
    with closing(Deployment(patient)) as before, closing(Deployment(replica)) as after:
        job_ids = [before.submit(), before.submit()]
        kept, lost = before.claim(), before.claim(is_idle=False)
        with Redis.from_url(servers.replica_url) as redis:
            _wait_for(lambda: redis.info("server")["uptime_in_seconds"] >= 2)
        assert before.leases.reap(MODEL) == Reaped()  # the grace begins there, and would be over for the other
        servers.cut_off()
        servers.promote()
        assert after.leases.reap(MODEL) == Reaped()
        with closing(Deployment(replica.replace(lease_s=60))) as reconnected:
            assert reconnected.leases.heartbeat(MODEL, "first", [kept]) == set()
        _wait_for(lambda: after.leases.reap(MODEL) == Reaped(released=1))
        assert [after.job(each).status for each in job_ids] == [JobStatus.PROCESSING, JobStatus.QUEUED]
        assert not after.leases.finish(lost, SUCCESS)


def _wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _new_key(url: str, **limits: int) -> str:
    return _with_keys(url, lambda keys: keys.create("ann", [Scope.SUBMIT], **limits))[1]


def _admit(url: str, secret: str) -> Admission:
    admission = _with_keys(url, lambda keys: keys.admit(fingerprint(secret), Charge(RequestKind.SUBMIT)))
    assert admission is not None
    return admission


def _with_keys(url: str, action: Callable[[ApiKeyStore], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        keys = ApiKeyStore.connect(_settings(url).redis)
        try:
            return await action(keys)
        finally:
            await keys.close()

    return asyncio.run(run())


def _claimed_delivery(url: str) -> DeliveryLease:
    async def claim() -> DeliveryLease:
        store = DeliveryStore.connect(_settings(url))
        try:
            lease = await store.claim([])
            assert lease is not None
            return lease
        finally:
            await store.close()

    return asyncio.run(claim())


def _record(url: str, lease: DeliveryLease) -> DeliveryState | None:
    async def record() -> DeliveryState | None:
        store = DeliveryStore.connect(_settings(url))
        try:
            return await store.record(lease, _ATTEMPT, Verdict(DeliveryState.DELIVERED))
        finally:
            await store.close()

    return asyncio.run(record())


def _message_id(lease: DeliveryLease) -> str:
    return signed_message(lease, ["whsec_" + "00" * 16]).headers["webhook-id"]
