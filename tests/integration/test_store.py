"""The store's promises, on every server maskq works on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from scripts.broker import free_port
from shared.errors import ConfigurationError, IdempotencyMismatch, JobExpired, JobNotFound, QueueFull, StoreFull
from shared.job import ALLOWED_MOVES, Job, JobFailure, JobRequest, JobStatus, MaskFormat, Priority, new_job_id
from shared.result import ImageSize, SegmentationResult
from shared.settings import Settings
from shared.store import keys
from shared.store.durability import require_durable_server
from shared.store.leases import Lease, LeaseStore, Outcome, Reaped
from shared.store.submissions import NewJob, SubmissionStore
from tests.servers import embedded_broker

_MODEL = "demo"
_LEASE_S = 0.2
_REQUEST = JobRequest(model_id=_MODEL, prompt="segment cat", mask_formats=(MaskFormat.RLE,))
_RESULT = SegmentationResult(
    image=ImageSize(width=2, height=2), objects=[], skipped=[], truncated=False, raw_text="héllo"
)
_SUCCESS = Outcome(result=_RESULT, model_s=0.5, batch_size=2)
_FAILURE = Outcome(failure=JobFailure(type="inference_failed", detail="why"))


@pytest.fixture
def redis(any_server: str) -> Iterator[Redis]:
    with Redis.from_url(any_server) as redis:
        redis.flushall()
        yield redis


@pytest.fixture
def settings(any_server: str) -> Settings:
    return Settings(
        redis_url=any_server,
        max_queued_jobs=50,
        restart_grace_s=0,
        lease_s=_LEASE_S,
        retention_s=100,
        image_retention_s=50,
        tombstone_s=1000,
    )


class Deployment:
    """Both sides of the store, the async one driven from plain tests."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self.front = SubmissionStore.connect(settings)
        self.leases = LeaseStore.connect(settings)

    def close(self) -> None:
        self._runner.run(self.front.close())
        self._runner.close()
        self.leases.close()

    def submit(self, job_id: str | None = None, **values: Any) -> str:
        priority = values.pop("priority", Priority.NORMAL)
        request = _REQUEST.model_copy(update={"priority": priority})
        new = NewJob(job_id or new_job_id(), request, **{"image": b"image", "owner": "me", **values})
        return self._runner.run(self.front.submit(new)).job.id

    def listed(self, owner: str, before: str = "", limit: int = 100) -> list[str]:
        return [job.id for job in self._runner.run(self.front.list(owner, before, limit))]

    def job(self, job_id: str) -> Job:
        return self._runner.run(self.front.read(job_id)).job

    def position(self, job_id: str) -> int | None:
        return self._runner.run(self.front.read(job_id)).queue_position

    def result(self, job_id: str) -> SegmentationResult | None:
        return self._runner.run(self.front.read(job_id)).result

    def image(self, job_id: str) -> bytes | None:
        return self._runner.run(self.front.image(job_id))

    def cancel(self, job_id: str) -> JobStatus:
        return self._runner.run(self.front.cancel(job_id))

    def live_workers(self) -> int:
        return self._runner.run(self.front.live_workers(_MODEL))

    def claim(self, *, hands_empty: bool = True) -> Lease:
        lease = self.leases.claim(_MODEL, hands_empty=hands_empty)
        assert lease is not None
        return lease


@pytest.fixture
def deployment(redis: Redis, settings: Settings) -> Iterator[Deployment]:
    deployment = Deployment(settings)
    yield deployment
    deployment.close()


def test_a_job_goes_its_way(deployment: Deployment) -> None:
    job_id = deployment.submit(image=b"\x00\xff bytes")
    queued = deployment.job(job_id)
    assert (queued.status, queued.request, queued.attempt) == (JobStatus.QUEUED, _REQUEST, 0)
    lease = deployment.claim()
    assert (lease.job.id, lease.image) == (job_id, b"\x00\xff bytes")
    processing = deployment.job(job_id)
    assert (processing.status, processing.attempt, processing.fence) == (JobStatus.PROCESSING, 1, 1)
    assert deployment.leases.finish(lease, _SUCCESS)
    done = deployment.job(job_id)
    assert (done.status, done.error) == (JobStatus.SUCCEEDED, None)
    assert deployment.result(job_id) == _RESULT
    assert done.started_at_ms is not None
    assert done.completed_at_ms is not None
    assert done.created_at_ms <= done.started_at_ms <= done.completed_at_ms
    assert done.metrics is not None
    assert (done.metrics.model_s, done.metrics.batch_size) == (0.5, 2)


def test_a_failed_job_says_why(deployment: Deployment) -> None:
    job_id = deployment.submit()
    assert deployment.leases.finish(deployment.claim(), _FAILURE)
    job = deployment.job(job_id)
    assert (job.status, job.error) == (JobStatus.FAILED, _FAILURE.failure)


def test_jobs_are_claimed_in_the_order_they_came_and_each_once(deployment: Deployment) -> None:
    ids = [deployment.submit() for _ in range(3)]
    assert [deployment.position(each) for each in ids] == [0, 1, 2]
    assert [deployment.claim().job.id for _ in ids] == ids
    assert deployment.leases.claim(_MODEL, hands_empty=True) is None


def test_a_model_s_workers_see_only_its_jobs(deployment: Deployment) -> None:
    deployment.submit()
    assert deployment.leases.claim("another", hands_empty=True) is None


def test_submitting_the_same_id_again_changes_nothing(deployment: Deployment) -> None:
    job_id = deployment.submit(image=b"first")
    deployment.submit(job_id, image=b"second")
    assert deployment.claim().image == b"first"
    assert deployment.leases.claim(_MODEL, hands_empty=True) is None
    deployment.submit(job_id)
    assert deployment.job(job_id).status is JobStatus.PROCESSING


def test_a_full_queue_refuses_and_keeps_nothing(deployment: Deployment, redis: Redis, settings: Settings) -> None:
    limited = Deployment(settings.model_copy(update={"max_queued_jobs": 3}))
    for _ in range(3):
        limited.submit()
    refused = new_job_id()
    with pytest.raises(QueueFull, match="3 jobs are waiting"):
        limited.submit(refused)
    assert not redis.exists(keys.job(refused), keys.image(refused))
    limited.claim()
    limited.submit(refused)
    limited.close()


def test_only_the_holder_of_the_present_fence_may_finish(deployment: Deployment) -> None:
    job_id = deployment.submit()
    lease = deployment.claim()
    stale = Lease(lease.job.model_copy(update={"fence": lease.job.fence - 1}), lease.image)
    assert not deployment.leases.finish(stale, _SUCCESS)
    assert deployment.leases.finish(lease, _SUCCESS)
    assert not deployment.leases.finish(lease, _FAILURE)
    assert deployment.job(job_id).status is JobStatus.SUCCEEDED


def test_a_canceled_job_never_gets_a_result(deployment: Deployment) -> None:
    waiting, running = deployment.submit(), deployment.submit()
    assert deployment.cancel(waiting) is JobStatus.QUEUED
    lease = deployment.claim()
    assert lease.job.id == running
    assert deployment.cancel(running) is JobStatus.PROCESSING
    assert not deployment.leases.finish(lease, _SUCCESS)
    for each in (waiting, running):
        assert deployment.job(each).status is JobStatus.CANCELED
        assert deployment.cancel(each) is JobStatus.CANCELED
    assert deployment.leases.claim(_MODEL, hands_empty=True) is None


def _bring_to(deployment: Deployment, status: JobStatus) -> tuple[str, Lease]:
    """A job in this status, and the lease that a worker has or would have on it."""
    job_id = deployment.submit()
    if status is JobStatus.QUEUED:
        return job_id, Lease(deployment.job(job_id), b"")
    lease = deployment.claim()
    if status is JobStatus.CANCELED:
        deployment.cancel(job_id)
    elif status.is_terminal:
        deployment.leases.finish(lease, _SUCCESS if status is JobStatus.SUCCEEDED else _FAILURE)
    return job_id, lease


def _try_to_move(deployment: Deployment, job_id: str, lease: Lease, status: JobStatus) -> None:
    match status:
        case JobStatus.QUEUED:
            deployment.leases.give_back(lease)
        case JobStatus.PROCESSING:
            deployment.leases.claim(_MODEL, hands_empty=True)
        case JobStatus.SUCCEEDED:
            deployment.leases.finish(lease, _SUCCESS)
        case JobStatus.FAILED:
            deployment.leases.finish(lease, _FAILURE)
        case JobStatus.CANCELED:
            deployment.cancel(job_id)


@pytest.mark.parametrize(("before", "after"), list(product(JobStatus, JobStatus)))
def test_the_scripts_make_the_allowed_moves_and_no_others(
    deployment: Deployment, before: JobStatus, after: JobStatus
) -> None:
    job_id, lease = _bring_to(deployment, before)
    assert deployment.job(job_id).status is before
    _try_to_move(deployment, job_id, lease, after)
    assert deployment.job(job_id).status is (after if after in ALLOWED_MOVES[before] else before)


def test_an_ended_job_is_kept_for_its_retention_and_a_queued_one_for_ever(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    assert {redis.ttl(key) for key in (keys.job(job_id), keys.image(job_id))} == {-1}
    deployment.leases.finish(deployment.claim(), _SUCCESS)
    assert 99 <= redis.ttl(keys.job(job_id)) <= 100
    assert 99 <= redis.ttl(keys.result(job_id)) <= 100
    assert 49 <= redis.ttl(keys.image(job_id)) <= 50
    assert 1099 <= redis.ttl(keys.tombstone(job_id)) <= 1100
    job = deployment.job(job_id)
    assert job.completed_at_ms is not None
    assert job.expires_at_ms == job.completed_at_ms + 100_000


def test_an_expired_job_is_not_one_that_never_was(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    deployment.leases.finish(deployment.claim(), _SUCCESS)
    redis.delete(keys.job(job_id), keys.result(job_id), keys.image(job_id))  # what the server does when the time is up
    for ask in (deployment.job, deployment.cancel):
        with pytest.raises(JobExpired):
            ask(job_id)
        with pytest.raises(JobNotFound):
            ask(new_job_id())
    assert deployment.image(job_id) is None


def test_workers_are_counted_until_they_leave_or_fall_silent(any_server: str, redis: Redis) -> None:
    deployment = Deployment(Settings(redis_url=any_server, heartbeat_s=0.1))
    assert deployment.live_workers() == 0
    for worker in ("a", "b", "a"):
        deployment.leases.beat(_MODEL, worker)
    assert deployment.live_workers() == 2
    deployment.leases.depart(_MODEL, "a")
    assert deployment.live_workers() == 1
    asyncio.run(asyncio.sleep(0.4))
    assert deployment.live_workers() == 0
    deployment.close()


def test_every_move_is_announced(deployment: Deployment, any_server: str, settings: Settings) -> None:
    async def listen() -> list[str | None]:
        store = SubmissionStore(AsyncRedis.from_url(any_server), settings)
        heard: list[str | None] = []
        changes: AsyncIterator[str | None] = store.changes()
        heard.append(await anext(changes))
        job_id = new_job_id()
        await store.submit(NewJob(job_id, _REQUEST, b"", "me"))
        lease = await asyncio.to_thread(deployment.claim)
        heard.append(await anext(changes))
        await asyncio.to_thread(deployment.leases.finish, lease, _SUCCESS)
        heard.append(await anext(changes))
        await store.close()
        assert heard[1:] == [job_id, job_id]
        return heard

    assert asyncio.run(listen())[0] is None


# --- Leases -----------------------------------------------------------------------------------------------------------


def _let_lease_run_out() -> None:
    time.sleep(_LEASE_S + 0.05)


def test_a_silent_worker_loses_its_job_and_cannot_finish_it(deployment: Deployment) -> None:
    job_id = deployment.submit()
    silent = deployment.claim()
    assert deployment.leases.reap(_MODEL) == Reaped()
    _let_lease_run_out()
    assert deployment.leases.reap(_MODEL) == Reaped(given_back=1)
    assert not deployment.leases.finish(silent, _SUCCESS)
    second = deployment.claim()
    assert (second.job.id, second.job.attempt, second.job.fence) == (job_id, 2, 2)
    assert not deployment.leases.finish(silent, _FAILURE)
    assert not deployment.leases.give_back(silent)
    assert deployment.leases.finish(second, _SUCCESS)


def test_a_worker_that_beats_keeps_its_job_and_hears_which_it_has_lost(deployment: Deployment) -> None:
    deployment.submit()
    kept = deployment.claim()
    canceled_id = deployment.submit()
    canceled = deployment.claim(hands_empty=False)
    deployment.cancel(canceled_id)
    for _ in range(3):
        time.sleep(_LEASE_S / 2)
        assert deployment.leases.beat(_MODEL, "me", [kept, canceled]) == {canceled_id}
        assert deployment.leases.reap(_MODEL) == Reaped()
    assert deployment.leases.finish(kept, _SUCCESS)


def test_nothing_is_reaped_while_the_server_is_up_for_a_short_time(any_server: str, redis: Redis) -> None:
    patient = Deployment(Settings(redis_url=any_server, lease_s=0.01, restart_grace_s=100_000))
    patient.submit()
    patient.claim()
    time.sleep(0.05)
    assert patient.leases.reap(_MODEL) == Reaped()
    patient.close()


def test_a_job_given_back_keeps_its_turn_and_its_count(deployment: Deployment) -> None:
    first, _ = deployment.submit(), deployment.submit()
    assert deployment.leases.give_back(deployment.claim())
    again = deployment.claim()
    assert (again.job.id, again.job.attempt, again.job.suspect) == (first, 1, False)


def test_a_suspect_runs_alone_and_before_all_others(deployment: Deployment) -> None:
    suspect_id = deployment.submit()
    deployment.claim()
    _let_lease_run_out()
    deployment.leases.reap(_MODEL)
    other_id = deployment.submit()
    assert deployment.job(suspect_id).suspect
    assert deployment.position(suspect_id) == 0
    assert deployment.leases.claim(_MODEL, hands_empty=False) is None
    assert deployment.claim().job.id == suspect_id
    assert deployment.claim().job.id == other_id


def test_a_job_that_costs_three_workers_alone_fails_as_worker_lost(deployment: Deployment) -> None:
    job_id = deployment.submit()
    for _ in range(4):  # the first loss may have been a neighbour's fault
        assert deployment.job(job_id).status is JobStatus.QUEUED
        deployment.claim()
        _let_lease_run_out()
        deployment.leases.reap(_MODEL)
    job = deployment.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 4)
    assert job.error is not None
    assert job.error.type == "worker_lost"


def test_a_job_whose_deadline_passes_is_canceled_wherever_it_is(deployment: Deployment) -> None:
    running, waiting, timeless = (deployment.submit(timeout_s=t) for t in (0.1, 0.15, None))
    lease = deployment.claim()
    assert lease.job.id == running
    assert deployment.leases.reap(_MODEL) == Reaped()
    time.sleep(0.2)
    assert deployment.leases.reap(_MODEL).canceled == 2
    for job_id in (running, waiting):
        job = deployment.job(job_id)
        assert job.status is JobStatus.CANCELED
        assert job.error is not None
        assert job.error.type == "deadline_exceeded"
    assert not deployment.leases.finish(lease, _SUCCESS)
    assert deployment.claim().job.id == timeless


def test_a_cancel_is_heard_by_the_workers(deployment: Deployment) -> None:
    job_id = deployment.submit()
    heard: list[str] = []
    stopped = threading.Event()

    def listen() -> None:
        for each in deployment.leases.canceled(stopped.is_set):
            heard.append(each)
            stopped.set()

    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(0.2)
    deployment.cancel(job_id)
    listener.join(10)
    assert heard == [job_id]


# --- Order of service -------------------------------------------------------------------------------------------------


def _owners_served(deployment: Deployment, count: int) -> str:
    return "".join(deployment.claim().job.owner for _ in range(count))


def test_an_owner_with_many_jobs_does_not_hold_up_another(deployment: Deployment) -> None:
    for _ in range(20):
        deployment.submit(owner="a")
    assert _owners_served(deployment, 3) == "aaa"
    for _ in range(3):
        deployment.submit(owner="b")
    served = _owners_served(deployment, 6)
    assert served.count("b") == 3


def test_a_higher_priority_gets_more_turns_and_none_starves(deployment: Deployment) -> None:
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for _ in range(14):
            deployment.submit(priority=priority)
    served = [deployment.claim().job.request.priority for _ in range(14)]
    assert [served.count(each) for each in (Priority.HIGH, Priority.NORMAL, Priority.LOW)] == [8, 4, 2]


def test_a_flow_that_was_idle_has_not_saved_up_turns(deployment: Deployment) -> None:
    for _ in range(10):
        deployment.submit(owner="a")
    _owners_served(deployment, 8)
    for _ in range(10):
        deployment.submit(owner="b")
        deployment.submit(owner="a")
    assert 3 <= _owners_served(deployment, 8).count("b") <= 5


# --- Idempotency, lists, limits ---------------------------------------------------------------------------------------


def test_an_idempotency_key_stands_for_one_job_of_its_owner(deployment: Deployment, redis: Redis) -> None:
    first = deployment.submit(idempotency_key="k")
    assert deployment.submit(idempotency_key="k") == first
    assert deployment.submit(idempotency_key="other") != first
    assert deployment.submit(owner="b", idempotency_key="k") != first
    assert redis.zcard(keys.ready(_MODEL)) == 3
    for change in ({"image": b"another"}, {"priority": Priority.HIGH}, {"timeout_s": 5}):
        with pytest.raises(IdempotencyMismatch):
            deployment.submit(idempotency_key="k", **change)
    assert 0 < redis.ttl(keys.idempotency("me", "k")) <= 86_400


def test_an_owner_s_jobs_are_listed_newest_first_page_by_page(deployment: Deployment, redis: Redis) -> None:
    ids = []
    for _ in range(5):
        ids.append(deployment.submit())
        time.sleep(0.002)
    deployment.submit(owner="b")
    newest_first = ids[::-1]
    assert deployment.listed("me") == newest_first
    assert deployment.listed("me", limit=2) == newest_first[:2]
    assert deployment.listed("me", before=newest_first[1], limit=2) == newest_first[2:4]
    redis.delete(keys.job(ids[0]), keys.job(ids[3]))
    assert deployment.listed("me", limit=3) == [ids[4], ids[2], ids[1]]
    deployment.submit()
    assert redis.zrank(keys.owned("me"), ids[0]) is None
    with pytest.raises(JobNotFound):
        deployment.listed("me", before="gone")


def test_the_same_question_is_answered_from_the_cache_if_there_is_one(
    deployment: Deployment, settings: Settings, redis: Redis
) -> None:
    cached = Deployment(settings.model_copy(update={"result_cache_s": 60}))
    first = cached.submit()
    cached.leases.finish(cached.claim(), _SUCCESS)
    again = cached.submit(priority=Priority.HIGH)
    job = cached.job(again)
    assert (job.status, job.cached, cached.job(first).cached) == (JobStatus.SUCCEEDED, True, False)
    assert cached.result(again) == _RESULT
    assert cached.leases.claim(_MODEL, hands_empty=True) is None
    assert cached.job(cached.submit(image=b"another")).status is JobStatus.QUEUED
    assert deployment.job(deployment.submit()).status is JobStatus.QUEUED  # off by default
    redis.delete(keys.result(first))
    assert cached.job(cached.submit()).status is JobStatus.QUEUED
    cached.close()


def test_jobs_are_refused_before_the_memory_is_full(any_server: str, redis: Redis, settings: Settings) -> None:
    redis.config_set("maxmemory", str(redis.info("memory")["used_memory"] * 11 // 10))
    deployment = Deployment(settings)
    try:
        with pytest.raises(StoreFull, match="80%"):
            deployment.submit()
    finally:
        redis.config_set("maxmemory", "0")
    deployment.close()


@pytest.mark.parametrize(
    ("option", "value", "needed"), [("appendonly", "no", "yes"), ("maxmemory-policy", "allkeys-lru", "noeviction")]
)
def test_a_server_that_would_lose_jobs_is_refused(tmp_path: Path, option: str, value: str, needed: str) -> None:
    with embedded_broker(tmp_path) as url, Redis.from_url(url) as redis:
        settings = Settings(redis_url=url)
        require_durable_server(settings)
        redis.config_set(option, value)
        with pytest.raises(ConfigurationError, match=f"{option} is {value} and must be {needed}"):
            require_durable_server(settings)
        require_durable_server(settings.model_copy(update={"allow_data_loss": True}))


def test_a_server_that_is_not_there_yet_is_not_judged() -> None:
    require_durable_server(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
