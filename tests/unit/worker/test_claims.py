"""Claims on a store that is a list of jobs."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as StoreDown

from shared.domain.job import Job, JobRequest, MaskFormat
from shared.store.leases import Lease, LeaseStore
from worker.claims import Claim, Claims


class ScriptedStore:
    """Leases the jobs of a list in their order, and keeps the ids of released jobs."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = list(jobs)
        self.released: list[str] = []
        self.idle: list[bool] = []
        self.full: list[list[str]] = []
        self.is_down = False

    def claim(self, model_id: str, *, is_idle: bool, full_clients: Collection[str]) -> Lease | None:
        self.idle.append(is_idle)
        self.full.append(list(full_clients))
        return Lease(self.jobs.pop(0), b"") if self.jobs else None

    def release(self, lease: Lease) -> bool:
        if self.is_down:
            raise StoreDown
        self.released.append(lease.job.id)
        return True


def _job(job_id: str, **fields: Any) -> Job:
    request = JobRequest(model_id="demo", prompt="segment cat", mask_formats=(MaskFormat.RLE,))
    return Job(id=job_id, status="processing", request=request, owner="me", created_at_ms=1_000, **fields)


@pytest.fixture
def stack() -> Any:
    with ExitStack() as stack:
        yield stack


def _claims(*jobs: Job) -> tuple[Claims, ScriptedStore]:
    store = ScriptedStore(*jobs)
    return Claims(cast(LeaseStore, store), "demo", slots=4), store


def _claim(claims: Claims, stack: ExitStack) -> Claim | None:
    return stack.enter_context(claims.claim())


def test_a_job_is_in_flight_until_its_context_ends() -> None:
    claims, _ = _claims(_job("1"))
    with claims.claim() as claim:
        assert claim is not None
        assert claim.job_id == "1"
        assert claims.active() == [claim]
        assert len(claims) == 1
    assert claims.active() == []


def test_the_store_learns_whether_the_worker_is_idle(stack: ExitStack) -> None:
    claims, store = _claims(_job("1"), _job("2"))
    _claim(claims, stack)
    _claim(claims, stack)
    assert store.idle == [True, False]


def test_the_store_learns_which_clients_have_their_share_of_the_slots(stack: ExitStack) -> None:
    owners = ("ann", "bob", "ann", "ann")
    claims, store = _claims(*(_job(str(number), flow=f"normal:{each}") for number, each in enumerate(owners)))
    for _ in owners:
        _claim(claims, stack)
    assert store.full == [[], [], [], ["ann", "bob"]]  # a client with jobs in flight may not have the last slot


def test_no_job_is_claimed_beside_a_quarantined_one(stack: ExitStack) -> None:
    claims, store = _claims(_job("1", quarantined=True), _job("2"))
    assert _claim(claims, stack) is not None
    assert _claim(claims, stack) is None
    assert len(store.idle) == 1


def test_no_job_is_claimed_after_closing(stack: ExitStack) -> None:
    claims, store = _claims(_job("1"))
    claims.close()
    assert _claim(claims, stack) is None
    assert store.idle == []


def test_a_dropped_job_is_not_active(stack: ExitStack) -> None:
    claims, _ = _claims(_job("1"), _job("2"))
    first, second = _claim(claims, stack), _claim(claims, stack)
    claims.drop("1")
    claims.drop("unknown")
    assert first is not None
    assert first.is_dropped
    assert claims.active() == [second]
    assert len(claims) == 2


@pytest.mark.parametrize("is_down", [False, True])
def test_releasing_returns_all_jobs_and_drops_them(stack: ExitStack, is_down: bool) -> None:
    claims, store = _claims(_job("1"), _job("2"))
    _claim(claims, stack)
    _claim(claims, stack)
    store.is_down = is_down
    claims.release_all()
    assert store.released == ([] if is_down else ["1", "2"])
    assert claims.active() == []
