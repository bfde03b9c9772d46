"""Who is notified of a job, and what workers that are awake wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from redis import Redis

from shared.store import key_names
from shared.store.fence_token import new_nonce
from shared.store.leases import LeaseStore
from tests.clock import MovedClock
from tests.integration.ledger.deployment import LEASE_S, MODEL, SUCCESS, Deployment


def _has_signal(redis: Redis) -> bool:
    return redis.llen(key_names.work(MODEL)) == 1


def test_a_worker_cannot_fall_asleep_while_a_job_waits(deployment: Deployment) -> None:
    deployment.submit()
    assert not deployment.leases.fall_asleep(MODEL, "worker")
    deployment.claim()
    assert deployment.leases.fall_asleep(MODEL, "worker")


@pytest.mark.parametrize("way", ["released", "reaped", "recovered"])
def test_a_job_that_is_queued_again_is_signalled(
    deployment: Deployment, clock: MovedClock, redis: Redis, way: str
) -> None:
    leases = deployment.leases
    leases.worker_id = "lost"
    deployment.submit()
    lease = deployment.claim()
    assert not _has_signal(redis)
    if way == "released":
        leases.release(lease)
    elif way == "reaped":
        clock.advance(LEASE_S)
        leases.reap(MODEL)
    else:
        leases.reap_worker(MODEL, "lost")
    assert _has_signal(redis)


@pytest.mark.parametrize("end", [LeaseStore.reap_worker, LeaseStore.deregister])
def test_a_worker_that_has_ended_is_not_notified(
    deployment: Deployment, redis: Redis, end: Callable[[LeaseStore, str, str], object]
) -> None:
    for worker in ("lost", "living"):
        deployment.leases.fall_asleep(MODEL, worker)
    end(deployment.leases, MODEL, "lost")
    assert redis.smembers(key_names.asleep(MODEL)) == {b"living"}


def test_the_signal_is_there_while_jobs_wait_whoever_takes_it(deployment: Deployment, redis: Redis) -> None:
    for _ in range(3):
        deployment.submit()
        assert _has_signal(redis)
    for is_left in (True, True, False):
        deployment.leases.wait_for_jobs(MODEL)
        deployment.claim()
        assert _has_signal(redis) == is_left


def test_a_worker_that_may_have_no_job_leaves_the_signal_to_others(
    deployment: Deployment, clock: MovedClock, redis: Redis
) -> None:
    deployment.submit()
    deployment.claim()
    clock.advance(LEASE_S)
    deployment.leases.reap(MODEL)
    deployment.leases.wait_for_jobs(MODEL)
    assert deployment.leases.claim_several(MODEL, new_nonce(), max_jobs=4, is_idle=False).waiting == 1
    assert _has_signal(redis)


def test_a_job_ends_the_wait_of_one_worker_at_once(deployment: Deployment) -> None:
    waited = threading.Event()

    def wait() -> None:
        for _ in range(20):
            deployment.leases.wait_for_jobs(MODEL)
            if deployment.leases.claim(MODEL, is_idle=True):
                waited.set()
                return

    thread = threading.Thread(target=wait)
    thread.start()
    deployment.submit()
    assert waited.wait(10)
    thread.join()


@pytest.mark.parametrize(("max_jobs", "claimed"), [(1, 1), (2, 2), (4, 3)])
def test_several_jobs_are_claimed_in_their_order(deployment: Deployment, max_jobs: int, claimed: int) -> None:
    ids = [deployment.submit() for _ in range(3)]
    found = deployment.leases.claim_several(MODEL, new_nonce(), max_jobs=max_jobs, is_idle=True)
    assert [lease.job.id for lease in found.leases] == ids[:claimed]
    assert found.waiting == 3 - claimed
    assert {lease.job.fence for lease in found.leases} == {1}


@pytest.mark.parametrize("is_reaped", [False, True])
def test_a_claim_without_an_answer_is_repeated_and_claims_nothing_more(
    deployment: Deployment, clock: MovedClock, is_reaped: bool
) -> None:
    ids = [deployment.submit() for _ in range(3)]
    other = deployment.claim()
    unheard = deployment.leases.claim_several(MODEL, "nonce", max_jobs=1, is_idle=True).leases
    clock.advance(LEASE_S / 2)
    if is_reaped:
        deployment.leases.reap_claims(MODEL, unheard)
    found = deployment.leases.claim_several(MODEL, "nonce", max_jobs=4, is_idle=True, is_repeated=True)
    assert [lease.job.id for lease in found.leases] == [ids[1]]
    assert found.leases[0].job.attempt == 1 + is_reaped
    assert found.waiting == 1
    clock.advance(LEASE_S * 2 / 3)  # its lease is new
    assert deployment.leases.reap(MODEL).released == 1
    assert not deployment.leases.finish(other, SUCCESS)
    assert deployment.leases.finish(found.leases[0], SUCCESS)


def test_a_claim_without_an_answer_that_was_never_made_is_made_when_it_is_repeated(deployment: Deployment) -> None:
    ids = [deployment.submit() for _ in range(2)]
    found = deployment.leases.claim_several(MODEL, "nonce", max_jobs=4, is_idle=True, is_repeated=True)
    assert [lease.job.id for lease in found.leases] == ids
