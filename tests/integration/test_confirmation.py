"""Replicas that must have a change before anyone is told of it: with real servers, one of which is cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, cast

import httpx2
import pytest
from redis import Redis

from shared.domain.job import JobStatus
from shared.errors import StoreUnconfirmed
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import Lease, LeaseStore
from testing.factories import failure, success
from testing.replication import ReplicatedServers
from testing.servers import front_end
from tests.jobs import PNG, assert_problem, submit
from worker.claims import Claim
from worker.job_end import EndKind, JobEnd
from worker.job_runner import JobPipeline, JobRunner
from worker.pipeline_result import PipelineResult

pytestmark = pytest.mark.slow

_TIMEOUT_S = 2.0
"""Of Redis. A wait for replicas ends after three quarters of it."""
_KEY = {"Idempotency-Key": "key"}
_WEBHOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def servers(replicated_servers: ReplicatedServers) -> ReplicatedServers:
    return replicated_servers


def _settings(url: str, confirm_replicas: int = 1, **more: Any) -> Settings:
    return Settings.of(
        redis_url=url,
        accept_unserved=True,
        confirm_replicas=confirm_replicas,
        redis_timeout_s=_TIMEOUT_S,
        restart_grace_s=0,
        url_allow_http=True,
        url_allow_private=True,
        **more,
    )


@contextmanager
def _client(settings: Settings) -> Iterator[httpx2.Client]:
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=20, verify=False) as client:
        yield client


@pytest.fixture
def client(servers: ReplicatedServers) -> Iterator[httpx2.Client]:
    with _client(_settings(servers.primary_url)) as client:
        yield client


@pytest.fixture
def leases(servers: ReplicatedServers) -> Iterator[LeaseStore]:
    with closing(LeaseStore.connect(_settings(servers.primary_url))) as leases:
        yield leases


def _claim(leases: LeaseStore) -> Lease:
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    return lease


# --- What a client is told --------------------------------------------------------------------------------------------


def test_a_submission_is_accepted_once_a_replica_has_it_and_repeating_it_makes_one_job(
    servers: ReplicatedServers, client: httpx2.Client
) -> None:
    assert submit(client).status_code == 202
    servers.cut_off()
    for _ in range(3):  # the later ones find the job, and are not confirmed either
        refused = submit(client, _KEY)
        assert_problem(refused, 503, "store_unconfirmed")
        assert refused.headers["retry-after"] == "2"
    servers.follow()
    accepted = submit(client, _KEY)
    assert accepted.status_code == 202
    assert accepted.json()["id"] == submit(client, _KEY).json()["id"]
    assert len(client.get("/jobs").json()["jobs"]) == 2


def _cancel(client: httpx2.Client, job_id: str) -> httpx2.Response:
    return client.post(f"/jobs/{job_id}/cancel")


def _delete(client: httpx2.Client, job_id: str) -> httpx2.Response:
    return client.delete(f"/jobs/{job_id}")


def _redeliver(client: httpx2.Client, job_id: str) -> httpx2.Response:
    return client.post(f"/jobs/{job_id}/webhooks/redeliver")


def _batch(client: httpx2.Client, job_id: str = "") -> httpx2.Response:
    images = [("image_file", (f"{number}.png", PNG)) for number in range(3)]
    return client.post("/batches", data={"prompt": "cat"}, files=images, headers={"Idempotency-Key": "batch"})


@pytest.mark.parametrize("change", [_cancel, _delete, _redeliver, _batch])
def test_each_change_that_a_client_is_told_of_is_confirmed(
    servers: ReplicatedServers,
    client: httpx2.Client,
    leases: LeaseStore,
    change: Callable[[httpx2.Client, str], httpx2.Response],
) -> None:
    job_id = submit(client, webhook_url=_WEBHOOK).json()["id"]
    if change is _redeliver:
        leases.finish(_claim(leases), success())
    servers.cut_off()
    for _ in range(2):  # also when it is repeated
        refused = change(client, job_id)
        assert_problem(refused, 503, "store_unconfirmed")
    servers.follow()
    assert change(client, job_id).status_code in {202, 409, 410}  # 409 and 410: it is canceled, or deleted


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/cancel", 202), ("DELETE", "", 204)])
def test_a_change_of_a_batch_is_confirmed(
    servers: ReplicatedServers, client: httpx2.Client, method: str, path: str, status: int
) -> None:
    batch = _batch(client).json()
    url = f"/batches/{batch['id']}{path}"
    servers.cut_off()
    assert_problem(client.request(method, url), 503, "store_unconfirmed")
    with Redis.from_url(servers.primary_url, decode_responses=True) as redis:
        found = {redis.hget(key_names.job(job["id"]), "status") for job in batch["jobs"]}
    assert found == ({None} if method == "DELETE" else {"canceled"})  # it is made
    assert_problem(client.request(method, url), 503, "store_unconfirmed")
    servers.follow()
    assert client.request(method, url).status_code == status


def _status(servers: ReplicatedServers, job_id: str) -> str | None:
    """What the primary has, whether it is confirmed or not."""
    with Redis.from_url(servers.primary_url, decode_responses=True) as redis:
        return redis.hget(key_names.job(job_id), "status")


@pytest.mark.parametrize("way", ["", "?wait=20", "/events"])
def test_a_client_sees_the_end_of_a_job_once_a_replica_has_it(
    servers: ReplicatedServers, client: httpx2.Client, leases: LeaseStore, way: str
) -> None:
    job_id = submit(client).json()["id"]
    lease = _claim(leases)
    servers.cut_off()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.get, f"/jobs/{job_id}{way}") if way else None
        with pytest.raises(StoreUnconfirmed):
            leases.finish(lease, success())
        assert _status(servers, job_id) == "succeeded"
        for _ in range(2):
            assert_problem(client.get(f"/jobs/{job_id}"), 503, "store_unconfirmed")
        assert waiting is None or not waiting.done()
        servers.follow()
        assert client.get(f"/jobs/{job_id}").json()["status"] == "succeeded"
        assert waiting is None or '"succeeded"' in waiting.result(_TIMEOUT_S * 5).text


@pytest.mark.parametrize("is_read_before", [True, False])
def test_an_end_that_a_replica_has_is_shown_also_when_replicas_are_away(
    servers: ReplicatedServers, client: httpx2.Client, leases: LeaseStore, is_read_before: bool
) -> None:
    job_id = submit(client).json()["id"]
    if is_read_before:
        client.post(f"/jobs/{job_id}/cancel")
        assert client.get(f"/jobs/{job_id}").status_code == 200
    else:
        assert leases.finish(_claim(leases), success())
    servers.cut_off()
    assert client.get(f"/jobs/{job_id}").json()["status"] == ("canceled" if is_read_before else "succeeded")


def test_many_who_read_ends_at_once_share_few_confirmations(
    servers: ReplicatedServers, client: httpx2.Client, leases: LeaseStore
) -> None:
    jobs = [submit(client).json()["id"] for _ in range(20)]
    servers.cut_off()
    for _ in jobs:
        lease = _claim(leases)
        with Redis.from_url(servers.primary_url) as redis:
            redis.hset(key_names.job(lease.job.id), mapping={"status": "failed", "completed_at_ms": 1})
    before = _waits(servers)
    with ThreadPoolExecutor(len(jobs)) as threads:
        answers = list(threads.map(lambda job_id: client.get(f"/jobs/{job_id}").status_code, jobs))
    assert answers == [503] * len(jobs)
    assert _waits(servers) - before < len(jobs) / 2


def _waits(servers: ReplicatedServers) -> int:
    """How often anyone has waited for replicas of the primary."""
    with Redis.from_url(servers.primary_url) as redis:
        return int(redis.info("commandstats")["cmdstat_wait"]["calls"])


def test_without_replicas_that_confirm_no_front_end_is_ready(servers: ReplicatedServers, client: httpx2.Client) -> None:
    assert client.get("/readyz").status_code == 200
    servers.cut_off()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["store"]) == (503, True)
    assert answer.json()["reason"] == "0 of 1 replicas keep up"
    assert client.get("/readyz", params={"exclude": "submissions"}).status_code == 200
    servers.follow()
    assert client.get("/readyz").status_code == 200


def test_without_confirmation_a_failover_may_forget_an_accepted_job(servers: ReplicatedServers) -> None:
    with _client(_settings(servers.primary_url, confirm_replicas=0)) as client:
        servers.cut_off()
        job_id = submit(client).json()["id"]
    servers.promote()
    with _client(_settings(servers.replica_url, confirm_replicas=0)) as client:
        assert client.get(f"/jobs/{job_id}").status_code == 404


def test_a_confirmed_job_survives_the_loss_of_the_primary_and_of_its_disk(servers: ReplicatedServers) -> None:
    with _client(_settings(servers.primary_url)) as client:
        accepted = submit(client)
        servers.kill_primary()
    assert accepted.status_code == 202
    job_id = accepted.json()["id"]
    servers.promote()
    with (
        _client(_settings(servers.replica_url, confirm_replicas=0)) as client,
        closing(LeaseStore.connect(_settings(servers.replica_url, confirm_replicas=0))) as leases,
    ):
        assert client.get(f"/jobs/{job_id}").json()["status"] == "queued"
        lease = _claim(leases)
        assert (lease.job.id, lease.image) == (job_id, PNG)
        assert leases.finish(lease, success())
        assert client.get(f"/jobs/{job_id}").json()["status"] == "succeeded"


def test_who_changes_nothing_does_not_wait_for_replicas(servers: ReplicatedServers, client: httpx2.Client) -> None:
    job_id = submit(client).json()["id"]
    servers.cut_off()
    answers: list[httpx2.Response] = []
    with ThreadPoolExecutor(100) as threads:
        waiting = [threads.submit(submit, client) for _ in range(100)]
        while not all(each.done() for each in waiting):
            answers.append(client.get(f"/jobs/{job_id}"))
    assert {each.result().status_code for each in waiting} <= {503, 429}
    assert {each.status_code for each in answers} == {200}
    assert len(answers) > 3


def test_a_server_that_has_lost_the_script_gets_it_again(servers: ReplicatedServers, client: httpx2.Client) -> None:
    submit(client)
    with Redis.from_url(servers.primary_url) as redis:
        redis.script_flush()
    assert submit(client).status_code == 202


# --- What a worker does -----------------------------------------------------------------------------------------------


class _Pipeline:
    """Has the answer at once."""

    def run(
        self, request: object, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        result = success().result
        assert result is not None
        return PipelineResult(result, model_s=0.0, batch_size=1)

    def close(self) -> None:
        """Nothing runs."""


def test_a_worker_keeps_a_job_until_its_end_is_confirmed(
    servers: ReplicatedServers, client: httpx2.Client, leases: LeaseStore
) -> None:
    job_id = submit(client, webhook_url=_WEBHOOK).json()["id"]
    lease = _claim(leases)
    servers.cut_off()
    ends: list[JobEnd] = []
    runner = JobRunner(leases, cast(JobPipeline, _Pipeline()))
    running = threading.Thread(target=lambda: ends.append(runner.run(Claim(lease, time.monotonic()))))
    running.start()
    while _status(servers, job_id) != "succeeded":
        time.sleep(0.01)
    running.join(_TIMEOUT_S)
    assert running.is_alive()
    assert leases.heartbeat("demo", "me", [lease]) == set()
    servers.follow()
    running.join()
    assert [end.kind for end in ends] == [EndKind.SUCCEEDED]  # its webhook is notified now, and not before
    with Redis.from_url(servers.primary_url, decode_responses=True) as redis:
        assert redis.hget(key_names.counts("demo"), "succeeded") == "1"


@pytest.mark.parametrize(("is_claim_known", "status"), [(True, JobStatus.SUCCEEDED), (False, JobStatus.QUEUED)])
def test_an_end_that_was_not_confirmed_is_offered_to_the_server_that_takes_over(
    servers: ReplicatedServers, client: httpx2.Client, leases: LeaseStore, is_claim_known: bool, status: JobStatus
) -> None:
    job_id = submit(client).json()["id"]
    servers.cut_off()
    lease = _claim(leases)
    if is_claim_known:
        servers.follow()
        servers.cut_off()
    with pytest.raises(StoreUnconfirmed):
        leases.finish(lease, success())
    servers.promote()
    settings = _settings(servers.replica_url, confirm_replicas=0)
    with closing(LeaseStore.connect(settings)) as later, _client(settings) as client_later:
        assert later.finish(lease, success()) == is_claim_known
        assert (later.heartbeat("demo", "me", [lease]) == set()) == is_claim_known
        assert client_later.get(f"/jobs/{job_id}").json()["status"] == status


def test_a_failure_that_was_not_confirmed_is_repeated(
    servers: ReplicatedServers, client: httpx2.Client, leases: LeaseStore
) -> None:
    job_id = submit(client).json()["id"]
    lease = _claim(leases)
    servers.cut_off()
    with pytest.raises(StoreUnconfirmed):
        leases.finish(lease, failure())
    servers.follow()
    assert leases.finish(lease, failure())
    assert client.get(f"/jobs/{job_id}").json()["error"] == {"type": "inference_failed", "detail": "why"}
