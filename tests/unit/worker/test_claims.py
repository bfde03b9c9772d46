"""Claims on a store that is a list of jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as StoreDown

from shared.domain.job import Job, JobRequest, MaskFormat
from shared.store.leases import Claimed, Lease, LeaseStore
from worker.claims import Claim, Claims, Looked


class ScriptedStore:
    """Leases the jobs of a list in their order, and keeps the ids of released jobs."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = list(jobs)
        self.requests: list[tuple[str, bool]] = []
        self.released: list[str] = []
        self.idle: list[bool] = []
        self.full: list[list[str]] = []
        self.is_down = False
        self.max_jobs = 1

    def claim_several(
        self,
        model_id: str,
        nonce: str,
        *,
        max_jobs: int,
        is_idle: bool,
        full_clients: Collection[str],
        is_repeated: bool,
    ) -> Claimed:
        self.requests.append((nonce, is_repeated))
        if self.is_down:
            raise StoreDown
        self.idle.append(is_idle)
        self.full.append(list(full_clients))
        leases = [Lease(self.jobs.pop(0), b"") for _ in range(min(self.max_jobs, max_jobs, len(self.jobs)))]
        return Claimed(leases, len(self.jobs))

    def release(self, lease: Lease) -> bool:
        if self.is_down:
            raise StoreDown
        self.released.append(lease.job.id)
        return True


def _job(job_id: str, **fields: Any) -> Job:
    request = JobRequest(model_id="demo", prompt="segment cat", mask_formats=(MaskFormat.RLE,))
    return Job(id=job_id, status="processing", request=request, owner="me", created_at_ms=1_000, **fields)


def _claims(*jobs: Job) -> tuple[Claims, ScriptedStore]:
    store = ScriptedStore(*jobs)
    return Claims(cast(LeaseStore, store), "demo", slots=4), store


def _claim(claims: Claims) -> Claim | None:
    return next(iter(claims.claim().claims), None)


def test_a_job_is_in_flight_until_it_ends() -> None:
    claims, _ = _claims(_job("1"))
    claim = _claim(claims)
    assert claim is not None
    assert claim.job_id == "1"
    assert claims.active() == [claim]
    assert len(claims) == 1
    claims.end(claim)
    assert claims.active() == []


def test_a_claim_is_repeated_until_it_has_an_answer_and_the_next_one_is_another() -> None:
    claims, store = _claims(_job("1"), _job("2"))
    store.is_down = True
    for _ in range(2):
        with pytest.raises(StoreDown):
            claims.claim()
    store.is_down = False
    claims.claim()
    claims.claim()
    nonces, are_repeated = zip(*store.requests, strict=True)
    assert are_repeated == (False, True, True, False)
    assert len(set(nonces)) == 2
    assert nonces[0] == nonces[2] != nonces[3]


def test_a_job_that_was_lost_and_claimed_again_stays_in_flight_when_its_first_claim_ends() -> None:
    claims, _ = _claims(_job("1", token="1-a"), _job("1", token="2-b"))
    first, second = _claim(claims), _claim(claims)
    assert first is not None
    claims.end(first)
    assert claims.active() == [second]


def test_a_claim_is_dropped_when_the_store_gives_its_job_to_this_worker_again() -> None:
    claims, _ = _claims(_job("1", token="1-a"), _job("1", token="1-b"))
    first, second = _claim(claims), _claim(claims)
    assert first is not None
    assert second is not None
    assert (first.is_dropped, second.is_dropped) == (True, False)


def test_no_more_jobs_are_claimed_than_slots_are_free() -> None:
    claims, store = _claims(*(_job(str(number)) for number in range(6)))
    store.max_jobs = 6
    claimed = [claim.job_id for _ in range(4) for claim in claims.claim().claims]
    assert claimed == ["0", "1", "2", "3"]
    assert claims.claim() == Looked([], is_blocked=True)


def test_several_jobs_are_claimed_at_once_while_slots_are_free() -> None:
    store = ScriptedStore(*(_job(str(number)) for number in range(6)))
    store.max_jobs = 6
    claims = Claims(cast(LeaseStore, store), "demo", slots=100)
    assert len(claims.claim().claims) == 4
    assert len(store.idle) == 1


def test_it_is_known_whether_other_jobs_wait() -> None:
    claims, _ = _claims(_job("1"), _job("2"))
    assert [claims.claim().is_last for _ in range(3)] == [False, True, True]


def test_waiting_for_an_end_ends_with_a_job() -> None:
    claims, _ = _claims(_job("1"))
    claim = _claim(claims)
    assert claim is not None
    threading.Timer(0.05, claims.end, [claim]).start()
    claims.wait_for_end(20)
    assert len(claims) == 0


def test_waiting_for_an_end_does_not_outlast_closing() -> None:
    claims, _ = _claims(_job("1"))
    _claim(claims)
    threading.Timer(0.05, claims.close).start()
    begin = time.monotonic()
    claims.wait_for_end(20)
    assert time.monotonic() - begin < 10


def test_the_store_learns_whether_the_worker_is_idle() -> None:
    claims, store = _claims(_job("1"), _job("2"))
    _claim(claims)
    _claim(claims)
    assert store.idle == [True, False]


def test_the_store_learns_which_clients_have_their_share_of_the_slots() -> None:
    owners = ("ann", "bob", "ann", "ann")
    claims, store = _claims(*(_job(str(number), flow=f"normal:{each}") for number, each in enumerate(owners)))
    for _ in owners:
        _claim(claims)
    assert store.full == [[], [], [], ["ann", "bob"]]  # a client with jobs in flight may not have the last slot


def test_no_job_is_claimed_beside_a_quarantined_one() -> None:
    claims, store = _claims(_job("1", quarantined=True), _job("2"))
    assert _claim(claims) is not None
    assert _claim(claims) is None
    assert len(store.idle) == 1


def test_no_job_is_claimed_after_closing() -> None:
    claims, store = _claims(_job("1"))
    claims.close()
    assert _claim(claims) is None
    assert store.idle == []


def test_a_dropped_job_is_not_active() -> None:
    claims, _ = _claims(_job("1"), _job("2"))
    first, second = _claim(claims), _claim(claims)
    claims.drop("1")
    claims.drop("unknown")
    assert first is not None
    assert first.is_dropped
    assert claims.active() == [second]
    assert len(claims) == 2


@pytest.mark.parametrize("is_down", [False, True])
def test_releasing_returns_all_jobs_and_drops_them(is_down: bool) -> None:
    claims, store = _claims(_job("1"), _job("2"))
    _claim(claims)
    _claim(claims)
    store.is_down = is_down
    claims.release_all()
    assert store.released == ([] if is_down else ["1", "2"])
    assert claims.active() == []
