"""What one client may use of the queue and of the memory for images, and what is left for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from redis import Redis

from shared.domain.job import JobStatus, new_job_id
from shared.errors import QueueFull, ShareExceeded, StoreFull
from shared.store import key_names
from tests.clock import MovedClock
from tests.integration.ledger.deployment import FAILURE, LEASE_S, MODEL, SUCCESS, Deploy, Deployment

_IMAGE = bytes(100_000)
_ROOM = 2_000_000
"""Bytes that images may use in these tests, beside what the empty server uses."""
_HOUR_S = 3_600


def _submit_until_refused(
    deployment: Deployment, error: type[Exception], client: str = "", clients: Iterable[str] = (), **values: Any
) -> int:
    """How many jobs are accepted: of one client, or each of another one."""
    for number, each in enumerate(clients or [client] * 1_000):
        try:
            deployment.submit(client=each, **values)
        except error:
            return number
    raise AssertionError("never refused")


def _bytes_of(redis: Redis, client: str) -> int:
    return int(redis.hget(key_names.IMAGE_BYTES, client) or 0)


# --- The queue --------------------------------------------------------------------------------------------------------


def test_one_client_gets_three_quarters_of_the_queue_and_another_still_gets_in(deployment: Deployment) -> None:
    assert _submit_until_refused(deployment, ShareExceeded, client="greedy") == 75
    assert _submit_until_refused(deployment, ShareExceeded, client="other") == 18  # three times the 6 that are left
    deployment.submit(client="newcomer")


def test_a_key_with_a_larger_share_gets_more_of_the_queue(deployment: Deployment) -> None:
    assert _submit_until_refused(deployment, ShareExceeded, client="large", share=3) == 90


def test_the_queue_is_full_for_newcomers_only_when_all_of_it_is_used(deploy: Deploy) -> None:
    small = deploy(max_queued_jobs=3)
    for client in "abc":
        small.submit(client=client)
    with pytest.raises(QueueFull):
        small.submit(client="d")
    with pytest.raises(ShareExceeded):
        small.submit(client="a")


def test_every_way_out_of_the_queue_gives_its_place_back(deployment: Deployment, clock: MovedClock) -> None:
    first = deployment.submit(client="greedy", timeout_s=5)
    canceled = deployment.submit(client="greedy")
    _submit_until_refused(deployment, ShareExceeded, client="greedy")
    deployment.cancel(canceled)
    deployment.submit(client="greedy")
    deployment.submit(client="other")  # two clients now share the queue
    clock.advance(5)
    deployment.leases.reap(MODEL)
    assert deployment.job(first).status is JobStatus.CANCELED
    deployment.claim()
    deployment.submit(client="greedy")


def test_a_job_that_waits_again_counts_again(deployment: Deployment, redis: Redis, clock: MovedClock) -> None:
    deployment.submit(client="a")
    lease = deployment.claim()
    assert redis.hgetall(key_names.waiting_clients(MODEL)) == {}
    deployment.leases.release(lease)
    assert redis.hgetall(key_names.waiting_clients(MODEL)) == {b"a": b"1"}
    deployment.claim()
    clock.advance(LEASE_S)
    deployment.leases.reap(MODEL)
    assert redis.hgetall(key_names.waiting_clients(MODEL)) == {b"a": b"1"}


def test_a_repeated_key_is_answered_even_if_the_share_is_used_up(deployment: Deployment) -> None:
    first = deployment.submit(client="greedy", idempotency_key="k")
    _submit_until_refused(deployment, ShareExceeded, client="greedy")
    assert deployment.submit(client="greedy", idempotency_key="k") == first


def test_jobs_of_an_older_version_are_not_counted(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit(client="a")
    redis.hdel(key_names.job(job_id), "flow", "weight", "charged")
    redis.delete(key_names.waiting_clients(MODEL))
    deployment.leases.release(deployment.claim())
    assert deployment.leases.finish(deployment.claim(), SUCCESS)
    assert redis.hgetall(key_names.waiting_clients(MODEL)) == {}
    assert deployment.job(job_id).client == ""


# --- Images -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_room(deploy: Deploy, redis: Redis) -> Iterator[Deployment]:
    """A deployment whose server has room for 20 images of these tests."""
    redis.config_set("maxmemory", str(round((redis.info("memory")["used_memory"] + _ROOM) / 0.8)))
    yield deploy(max_queued_jobs=10_000)
    redis.config_set("maxmemory", "0")


def test_one_client_gets_three_quarters_of_the_memory_and_another_still_gets_in(with_room: Deployment) -> None:
    assert 11 <= _submit_until_refused(with_room, ShareExceeded, client="greedy", image=_IMAGE) <= 15
    with_room.submit(client="other", image=_IMAGE)


def test_memory_is_full_for_newcomers_only_when_all_of_it_is_used(with_room: Deployment) -> None:
    clients = [f"client-{number}" for number in range(100)]
    accepted = _submit_until_refused(with_room, StoreFull, image=_IMAGE, clients=clients)
    assert 15 <= accepted <= 20
    with pytest.raises(StoreFull, match="80%"):
        with_room.submit(client="another", image=_IMAGE)


def test_images_count_until_they_are_gone(deployment: Deployment, redis: Redis, clock: MovedClock) -> None:
    ids = [deployment.submit(client="a", image=_IMAGE) for _ in range(4)]
    deployment.leases.finish(deployment.claim(), SUCCESS)
    deployment.leases.finish(deployment.claim(), FAILURE)
    deployment.cancel(ids[2])
    assert _bytes_of(redis, "a") == _bytes_of(redis, "total") == 2 * len(_IMAGE)
    assert [redis.exists(key_names.image(each)) for each in ids] == [1, 0, 0, 1]
    redis.delete(key_names.image(ids[0]))  # as if it expired
    clock.advance(50)
    deployment.leases.reap(MODEL)
    assert _bytes_of(redis, "a") == len(_IMAGE)


@pytest.mark.parametrize("way", ["canceled", "canceled while running", "deadline", "failed", "lost"])
def test_the_image_of_a_job_that_ends_without_a_result_goes_at_once(
    deployment: Deployment, redis: Redis, clock: MovedClock, way: str
) -> None:
    job_id = deployment.submit(timeout_s=1_000, image=_IMAGE)
    lease = None if way == "canceled" else deployment.claim()
    if way.startswith("canceled"):
        deployment.cancel(job_id)
    elif way == "deadline":
        clock.advance(1_000)
        deployment.leases.reap(MODEL)
    elif lease and way == "failed":
        deployment.leases.finish(lease, FAILURE)
    else:
        _lose_workers(deployment, clock)
    assert deployment.job(job_id).status.is_terminal
    assert deployment.image(job_id) is None
    assert redis.hgetall(key_names.IMAGE_BYTES) == {}
    assert redis.zcard(key_names.IMAGES) == 0


def _lose_workers(deployment: Deployment, clock: MovedClock) -> None:
    for claimed in (True, False, False, False):
        if not claimed:
            deployment.claim()
        clock.advance(LEASE_S)
        deployment.leases.reap(MODEL)


def test_a_client_cannot_fill_the_memory_with_jobs_that_it_cancels(with_room: Deployment) -> None:
    for _ in range(100):
        with_room.cancel(with_room.submit(client="a", image=_IMAGE))
    with_room.submit(client="b", image=_IMAGE)


def test_images_that_vanish_in_any_way_are_no_longer_counted_within_an_hour(
    deployment: Deployment, redis: Redis, clock: MovedClock
) -> None:
    gone, kept = (deployment.submit(client="a", image=_IMAGE) for _ in range(2))
    redis.delete(key_names.image(gone))
    deployment.leases.reap(MODEL)
    assert _bytes_of(redis, "a") == 2 * len(_IMAGE)
    clock.advance(_HOUR_S)
    deployment.leases.reap(MODEL)
    assert _bytes_of(redis, "a") == _bytes_of(redis, "total") == len(_IMAGE)
    assert redis.exists(key_names.image(kept))


def test_a_client_whose_images_expired_may_submit_again(with_room: Deployment, redis: Redis, clock: MovedClock) -> None:
    _submit_until_refused(with_room, ShareExceeded, client="a", image=_IMAGE)
    for key in redis.keys(key_names.image("*")):
        redis.delete(key)
    clock.advance(_HOUR_S)
    with_room.submit(client="a", image=_IMAGE)
    assert _bytes_of(redis, "a") == len(_IMAGE)


def test_a_name_of_a_client_may_have_any_characters(deployment: Deployment, redis: Redis) -> None:
    for client in ("anonymous@2001:db8::", "anonymous@", "a b 1 c:d\n\x00é"):
        job_id = deployment.submit(new_job_id(), client=client, image=_IMAGE)
        assert deployment.job(job_id).client == client
        assert _bytes_of(redis, client) == len(_IMAGE)
        deployment.cancel(job_id)
        assert redis.hgetall(key_names.IMAGE_BYTES) == {}
