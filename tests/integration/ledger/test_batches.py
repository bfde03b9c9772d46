"""Batches in the ledger: a job joins its batch in the step that accepts it, and the last one to end ends the batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from shared.domain.batch import Closed, RefusedImage
from shared.domain.webhook import Webhook
from shared.errors import (
    BatchClosed,
    BatchNotFound,
    IdempotencyMismatch,
    JobExpired,
    QueueFull,
    ShareExceeded,
    StoreUnavailable,
)
from shared.store import key_names
from shared.store.records import text
from tests.clock import MovedClock
from tests.integration.ledger.deployment import FAILURE, SUCCESS, Deploy, Deployment

HOOK = Webhook(url="https://example.com/hook", base_url="http://here/")
REFUSED = RefusedImage(index=3, file_name="a.png", type="unsupported_image", detail="why")


def deliveries(redis: Redis) -> list[str]:
    """Ids of what has a delivery."""
    return [text(key).rpartition(":")[2] for key in redis.keys(key_names.delivery("*"))]


def test_a_batch_has_the_state_of_its_jobs(deployment: Deployment) -> None:
    deployment.begin_batch("b", ref="scans")
    ids = [deployment.submit_to("b", index) for index in (0, 1, 10)]
    assert deployment.leases.finish(deployment.claim(), SUCCESS)
    deployment.cancel(ids[2])
    batch = deployment.batch("b")
    assert [job.id for job in batch.jobs] == ids
    assert batch.counts == {"succeeded": 1, "queued": 1, "canceled": 1}
    assert batch.ends == {"succeeded": 1, "failed": 0, "canceled": 1}
    assert [job.id for job in batch.unfinished] == [ids[1]]
    assert (batch.owner, batch.client, batch.ref, batch.closed, batch.ended_at_ms) == ("me", "me", "scans", None, None)


def test_a_repeated_image_is_in_the_batch_once(deployment: Deployment) -> None:
    deployment.begin_batch("b")
    first = [deployment.submit_to("b", 0) for _ in range(2)]
    assert [job.id for job in deployment.batch("b").jobs] == first[:1]
    assert deployment.batch("b").fingerprints == {0: "x"}


def test_another_image_at_the_same_index_is_refused(deployment: Deployment) -> None:
    deployment.begin_batch("b")
    deployment.submit_to("b", 0)
    with pytest.raises(IdempotencyMismatch):
        deployment.submit_to("b", 0, "y")


def test_a_refused_job_is_in_no_batch(deploy: Deploy) -> None:
    deployment = deploy(max_queued_jobs=1)
    deployment.begin_batch("b")
    job_id = deployment.submit_to("b", 0)
    with pytest.raises((QueueFull, ShareExceeded)):
        deployment.submit_to("b", 1)
    assert [job.id for job in deployment.batch("b").jobs] == [job_id]


def test_deleted_jobs_of_a_batch_are_shown_as_deleted(deployment: Deployment) -> None:
    deployment.begin_batch("b")
    deployment.delete(deployment.submit_to("b", 0))
    assert deployment.batch("b").counts == {"deleted": 1}
    assert deployment.batch("b").ends["canceled"] == 1


def test_an_unknown_batch_is_not_found(deployment: Deployment) -> None:
    with pytest.raises(BatchNotFound):
        deployment.batch("b")


def test_a_batch_that_a_failover_has_forgotten_takes_images_again_when_the_request_is_repeated(
    deployment: Deployment,
) -> None:
    with pytest.raises(StoreUnavailable):
        deployment.submit_to("b", 0)
    with pytest.raises(StoreUnavailable):
        deployment.close_batch("b", jobs=1)
    deployment.begin_batch("b")
    deployment.submit_to("b", 0)
    assert deployment.close_batch("b", jobs=1).closed is Closed.COMPLETE


def test_a_batch_is_complete_only_with_all_its_jobs(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b")
    for index in (0, 1):
        deployment.submit_to("b", index)
    redis.hdel(key_names.batch_jobs("b"), "1")  # a failover has forgotten it
    with pytest.raises(StoreUnavailable):
        deployment.close_batch("b", jobs=2)
    assert deployment.batch("b").closed is None
    deployment.submit_to("b", 1)
    assert deployment.close_batch("b", jobs=2).closed is Closed.COMPLETE


# --- The key ----------------------------------------------------------------------------------------------------------


def test_the_same_key_finds_the_same_batch(deployment: Deployment) -> None:
    assert deployment.begin_batch("b").id == deployment.begin_batch("c").id == "b"
    assert deployment.begin_batch("d", owner="you").id == "d"
    with pytest.raises(IdempotencyMismatch):
        deployment.begin_batch("e", fingerprint="g")


def test_a_key_whose_time_is_over_begins_a_new_batch(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b")
    deployment.submit_to("b", 0)
    redis.delete(key_names.batch_binding("me", "k"))
    assert deployment.begin_batch("c").id == "c"
    deployment.submit_to("c", 0)
    assert len(deployment.batch("b").jobs) == len(deployment.batch("c").jobs) == 1


def test_the_key_of_an_expired_batch_runs_nothing_again(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b")
    redis.delete(key_names.batch("b"))
    with pytest.raises(JobExpired):
        deployment.begin_batch("c")


def test_a_batch_is_forgotten_soon_unless_it_gets_an_image_or_is_closed(deployment: Deployment, redis: Redis) -> None:
    for batch_id in ("empty", "filled", "closed"):
        deployment.begin_batch(batch_id, key=batch_id)
    deployment.submit_to("filled", 0)
    deployment.close_batch("closed", Closed.CANCELED)

    def kept_s(batch_id: str) -> int:
        return redis.ttl(key_names.batch_binding("me", batch_id))

    for _ in range(2):
        assert 500 < kept_s("empty") <= 600
        assert 500 < redis.ttl(key_names.batch("empty")) <= 600
        assert kept_s("filled") > 80_000 < redis.ttl(key_names.batch("filled"))
        assert kept_s("closed") > 80_000
        for batch_id in ("empty", "filled", "closed"):
            assert deployment.begin_batch("new", key=batch_id).id == batch_id


# --- The end ----------------------------------------------------------------------------------------------------------


def _succeed(deployment: Deployment, job_id: str) -> None:
    assert deployment.leases.finish(deployment.claim(), SUCCESS)


def _fail(deployment: Deployment, job_id: str) -> None:
    assert deployment.leases.finish(deployment.claim(), FAILURE)


def _cancel(deployment: Deployment, job_id: str) -> None:
    deployment.cancel(job_id)


def _cancel_running(deployment: Deployment, job_id: str) -> None:
    deployment.claim()
    deployment.cancel(job_id)


def _delete(deployment: Deployment, job_id: str) -> None:
    deployment.delete(job_id)


def _delete_ended(deployment: Deployment, job_id: str) -> None:
    deployment.cancel(job_id)
    deployment.delete(job_id)


_ENDS: dict[Callable[[Deployment, str], None], str] = {
    _succeed: "succeeded",
    _fail: "failed",
    _cancel: "canceled",
    _cancel_running: "canceled",
    _delete: "canceled",
    _delete_ended: "canceled",
}


@pytest.mark.parametrize("end", _ENDS)
def test_every_end_of_the_last_job_ends_a_closed_batch_with_one_delivery(
    deployment: Deployment, redis: Redis, end: Callable[[Deployment, str], None]
) -> None:
    deployment.begin_batch("b", webhook=HOOK)
    job_id = deployment.submit_to("b", 0)
    assert deployment.close_batch("b").ended_at_ms is None
    assert deliveries(redis) == []
    end(deployment, job_id)
    batch = deployment.batch("b")
    assert batch.ended_at_ms is not None
    assert {status: number for status, number in batch.ends.items() if number} == {_ENDS[end]: 1}
    assert deliveries(redis) == ["b"]
    assert 0 < redis.ttl(key_names.batch("b")) <= redis.ttl(key_names.batch_jobs("b")) + 1


def test_the_deadline_of_the_last_job_ends_its_batch(deployment: Deployment, redis: Redis, clock: MovedClock) -> None:
    deployment.begin_batch("b", webhook=HOOK)
    deployment.submit_to("b", 0, timeout_s=5)
    deployment.close_batch("b")
    clock.advance(10)
    deployment.leases.reap("demo")
    assert deployment.batch("b").ends["canceled"] == 1
    assert deliveries(redis) == ["b"]


def test_a_job_answered_by_the_cache_ends_its_batch(deploy: Deploy, redis: Redis) -> None:
    deployment = deploy(result_cache_s=60)
    deployment.submit()
    assert deployment.leases.finish(deployment.claim(), SUCCESS)
    deployment.begin_batch("b", webhook=HOOK)
    deployment.submit_to("b", 0)
    assert deliveries(redis) == []
    assert deployment.close_batch("b").ended_at_ms is not None
    assert deliveries(redis) == ["b"]


def test_an_open_batch_does_not_end_and_sends_nothing(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b", webhook=HOOK)
    _cancel(deployment, deployment.submit_to("b", 0))
    assert deployment.batch("b").ended_at_ms is None
    assert deliveries(redis) == []
    deployment.submit_to("b", 1)
    deployment.close_batch("b")
    assert deliveries(redis) == []


def test_a_repeated_close_changes_nothing(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b", webhook=HOOK)
    _cancel(deployment, deployment.submit_to("b", 0))
    first = deployment.close_batch("b", Closed.COMPLETE, REFUSED)
    assert first.refused == [REFUSED]
    redis.delete(key_names.delivery("b"))
    assert deployment.close_batch("b") == deployment.close_batch("b", Closed.CANCELED) == first
    assert deliveries(redis) == []


@pytest.mark.parametrize(
    ("reason", "error"),
    [(Closed.COMPLETE, IdempotencyMismatch), (Closed.CANCELED, BatchClosed), (Closed.DELETED, BatchClosed)],
)
def test_a_closed_batch_takes_no_more_images(deployment: Deployment, reason: Closed, error: type[Exception]) -> None:
    deployment.begin_batch("b")
    job_id = deployment.submit_to("b", 0)
    deployment.close_batch("b", reason)
    with pytest.raises(error):
        deployment.submit_to("b", 1)
    assert deployment.submit_to("b", 0) == job_id


def test_a_deleted_batch_sends_nothing(deployment: Deployment, redis: Redis) -> None:
    for batch_id in "bc":
        deployment.begin_batch(batch_id, key=batch_id, webhook=HOOK)
    _cancel(deployment, deployment.submit_to("b", 0))
    job_id = deployment.submit_to("c", 0)
    deployment.close_batch("b")
    assert deliveries(redis) == ["b"]
    deployment.close_batch("b", Closed.DELETED)
    deployment.close_batch("c", Closed.DELETED)
    deployment.delete(job_id)
    assert deliveries(redis) == []
    assert redis.exists(key_names.DELIVERY_CLIENTS) == 0


def test_an_open_batch_and_its_jobs_list_expire(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b")
    assert redis.ttl(key_names.batch("b")) > 0
    deployment.submit_to("b", 0)
    assert redis.ttl(key_names.batch("b")) > 86_400
    assert redis.ttl(key_names.batch_jobs("b")) > 86_400
    deployment.close_batch("b")
    assert redis.ttl(key_names.batch("b")) == -1


def test_a_job_that_ends_after_its_batch_has_gone_leaves_nothing(deployment: Deployment, redis: Redis) -> None:
    deployment.begin_batch("b")
    job_id = deployment.submit_to("b", 0)
    redis.delete(key_names.batch("b"))
    deployment.cancel(job_id)
    assert redis.exists(key_names.batch("b")) == 0
