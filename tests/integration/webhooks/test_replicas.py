"""Webhooks while replicas are away: nothing is sent that a failover could undo. With real servers, one of which is cut
off."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import pytest
from redis import Redis

from shared.domain.job import ANONYMOUS
from shared.domain.webhook import Attempt, DeliveryState, Webhook
from shared.errors import StoreUnconfirmed
from shared.settings import Settings
from shared.store import key_names
from shared.store.deliveries import DeliveryLease, DeliveryStore, Verdict
from shared.store.leases import Outcome
from shared.store.webhook_secrets import WebhookSecretStore
from testing.replication import ReplicatedServers
from testing.scripted_receiver import Answer, Receiver, status
from testing.servers import front_end
from testing.signing_secrets import webhook_secrets
from tests.integration.ledger.deployment import Deployment as Ledger
from tests.integration.webhooks.deployment import FAILURE, PNG, SUCCESS, Deployment
from webhooks.app import DelivererThread

pytestmark = pytest.mark.slow

_T = TypeVar("_T")
_WEBHOOK = Webhook(url="https://example.com/hook", base_url="http://here/")
_DELIVERED = Verdict(DeliveryState.DELIVERED)
_UNCONFIRMED = "too few replicas confirm"


@pytest.fixture
def servers(replicated_servers: ReplicatedServers) -> ReplicatedServers:
    return replicated_servers


@pytest.fixture
def settings(servers: ReplicatedServers) -> Settings:
    return _settings(servers.primary_url)


def _settings(url: str) -> Settings:
    return Settings.of(
        redis_url=url,
        accept_unserved=True,
        confirm_replicas=1,
        redis_timeout_s=2.0,
        restart_grace_s=0,
        heartbeat_s=0.2,
        give_up_s=0.4,
        lease_s=30,
        url_allow_http=True,
        url_allow_private=True,
        allowed_hosts="*",
        webhook_retries_s=(0.1, 0.2, 0.3),
    )


@pytest.fixture
def deployment(settings: Settings) -> Iterator[Deployment]:
    with front_end(settings) as url, closing(Deployment(settings, url)) as deployment:
        yield deployment


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with closing(Ledger(settings.replace(confirm_replicas=0))) as ledger:
        yield ledger


# --- What a receiver gets ---------------------------------------------------------------------------------------------


def _succeed(deployment: Deployment, receiver: Receiver) -> Callable[[], object]:
    deployment.submit(receiver.url)
    return _finish(deployment, SUCCESS)


def _fail(deployment: Deployment, receiver: Receiver) -> Callable[[], object]:
    deployment.submit(receiver.url)
    return _finish(deployment, FAILURE)


def _finish(deployment: Deployment, outcome: Outcome) -> Callable[[], object]:
    lease = deployment.leases.claim("demo", is_idle=True)
    assert lease

    def finish() -> None:
        with pytest.raises(StoreUnconfirmed):  # a worker repeats it
            deployment.leases.finish(lease, outcome)

    return finish


def _cancel(deployment: Deployment, receiver: Receiver) -> Callable[[], object]:
    job_id = deployment.submit(receiver.url)
    return lambda: deployment.client.post(f"/jobs/{job_id}/cancel")


def _pass_a_deadline(deployment: Deployment, receiver: Receiver) -> Callable[[], object]:
    deployment.submit(receiver.url, timeout="0.5")
    return lambda: None  # the front end reaps


def _end_a_batch(deployment: Deployment, receiver: Receiver) -> Callable[[], object]:
    deployment.client.post(
        "/batches",
        data={"prompt": "cat", "webhook_url": receiver.url},
        files=[("image_file", (f"{number}.png", PNG)) for number in range(2)],
        headers={"Idempotency-Key": "k"},
    ).raise_for_status()
    deployment.finish()
    return _finish(deployment, FAILURE)


def _redeliver(deployment: Deployment, receiver: Receiver) -> Callable[[], object]:
    job_id = deployment.submit_and_finish(receiver.url)
    with _deliverer(deployment.settings):
        deployment.settled(job_id)
    receiver.received.clear()
    return lambda: deployment.client.post(f"/jobs/{job_id}/webhooks/redeliver")


@contextmanager
def _deliverer(settings: Settings) -> Iterator[None]:
    deliverer = DelivererThread(settings)
    try:
        yield
    finally:
        deliverer.stop()


def _wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("end", [_succeed, _fail, _cancel, _pass_a_deadline, _end_a_batch, _redeliver])
def test_nothing_is_sent_before_replicas_have_the_end_and_then_it_is_sent_once(
    servers: ReplicatedServers,
    deployment: Deployment,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    end: Callable[[Deployment, Receiver], Callable[[], object]],
) -> None:
    happen = end(deployment, receiver)
    servers.cut_off()
    with _deliverer(deployment.settings):
        happen()
        _wait_for(lambda: bool(receiver.received) or f"not sent yet: {_UNCONFIRMED}" in caplog.text)
        assert receiver.received == []
        servers.follow()
        (sent,) = receiver.wait_for(1)
        assert sent.verified(webhook_secrets(deployment.settings, ANONYMOUS)[0])
    assert len(receiver.received) == 1


def test_many_deliveries_wait_at_once_and_one_line_is_logged(
    servers: ReplicatedServers, deployment: Deployment, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        deployment.submit_and_finish(receiver.url)
    servers.cut_off()
    with _deliverer(deployment.settings), Redis.from_url(servers.primary_url) as redis:
        keys = list(redis.scan_iter(key_names.delivery("*")))
        _wait_for(lambda: all(redis.hexists(key, "token") for key in keys))
        _wait_for(lambda: _UNCONFIRMED in caplog.text)
        servers.follow()
        receiver.wait_for(5)
    assert caplog.text.count(_UNCONFIRMED) == 1
    assert len({each.id for each in receiver.received}) == len(receiver.received) == 5


def test_an_outcome_is_kept_until_replicas_have_it(
    servers: ReplicatedServers, deployment: Deployment, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [_cut_off_and_answer(servers)]
    job_id = deployment.submit_and_finish(receiver.url)
    with _deliverer(deployment.settings):
        _wait_for(lambda: f"not recorded yet: {_UNCONFIRMED}" in caplog.text)
        assert len(receiver.received) == 1
        servers.follow()
        caplog.set_level(logging.INFO)
    assert "webhook delivered (204)" in caplog.text
    delivery = deployment.delivery(job_id)
    assert (delivery["state"], len(delivery["attempts"]), len(receiver.received)) == ("delivered", 1, 1)


def _cut_off_and_answer(servers: ReplicatedServers) -> Answer:
    def answer(handler: object) -> None:
        servers.cut_off()
        status(204)(handler)  # type: ignore[arg-type]

    return answer


# --- What the server that takes over knows ----------------------------------------------------------------------------


def _with_store(url: str, action: Callable[[DeliveryStore], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        store = DeliveryStore.connect(_settings(url))
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _claimed(url: str) -> DeliveryLease:
    lease = _with_store(url, lambda store: store.claim([]))
    assert lease is not None
    return lease


def _keep(url: str, lease: DeliveryLease) -> DeliveryLease | None:
    return _with_store(url, lambda store: store.keep(lease))


def _record(url: str, lease: DeliveryLease) -> DeliveryState | None:
    attempt = Attempt(at_ms=0, duration_s=0, status=200)
    return _with_store(url, lambda store: store.record(lease, attempt, _DELIVERED))


def _take_over(servers: ReplicatedServers) -> str:
    """Promote the replica, which gets the other server as its replica. Returns its URL."""
    servers.promote()
    ReplicatedServers(servers.replica_url, servers.primary_url).follow()
    return servers.replica_url


@pytest.mark.parametrize("what_is_forgotten", ["the end", "the claim"])
def test_a_claim_that_a_failover_forgets_is_not_kept(
    servers: ReplicatedServers, ledger: Ledger, what_is_forgotten: str
) -> None:
    job_id = ledger.submit(webhook=_WEBHOOK)
    if what_is_forgotten == "the claim":
        ledger.cancel(job_id)
    servers.cut_off()
    if what_is_forgotten == "the end":
        ledger.cancel(job_id)
    lease = _claimed(servers.primary_url)
    with pytest.raises(StoreUnconfirmed):
        _keep(servers.primary_url, lease)
    assert _keep(_take_over(servers), lease) is None


def test_a_claim_and_an_attempt_are_taken_to_the_server_that_takes_over(
    servers: ReplicatedServers, ledger: Ledger
) -> None:
    ledger.cancel(ledger.submit(webhook=_WEBHOOK))
    lease = _claimed(servers.primary_url)
    servers.cut_off()
    for ask in (_keep, _record):
        with pytest.raises(StoreUnconfirmed):
            ask(servers.primary_url, lease)
    with pytest.raises(StoreUnconfirmed):
        _record(servers.primary_url, lease)  # known here, and confirmed no more than before
    url = _take_over(servers)
    kept = _keep(url, lease)
    assert kept is not None
    assert kept.claimed_at_ms > lease.claimed_at_ms
    assert _record(url, kept) is DeliveryState.DELIVERED
    assert _record(url, kept) is DeliveryState.DELIVERED
    assert _keep(url, kept) is None


def test_a_secret_signs_once_replicas_have_it(servers: ReplicatedServers, settings: Settings) -> None:
    servers.cut_off()

    async def show() -> list[str]:
        store = WebhookSecretStore.connect(settings)
        try:
            return await store.show("ann")
        finally:
            await store.close()

    for _ in range(2):  # the second finds it
        with pytest.raises(StoreUnconfirmed):
            asyncio.run(show())
    servers.follow()
    assert len(asyncio.run(show())) == 1
