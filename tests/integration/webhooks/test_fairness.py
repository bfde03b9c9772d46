"""Receivers that never answer, of one client: the webhooks of others do not wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis import Redis

from shared.domain.webhook import Webhook
from shared.settings import Settings
from shared.store import key_names
from shared.store.deliveries import DeliveryStore
from shared.store.submissions import SubmissionStore
from testing.factories import new_job
from testing.scripted_receiver import Receiver, slow
from webhooks.app import DelivererThread

_SLOTS = 16
_TARPITS = 12
_HOST_SLOTS = 2
"""The tarpits together could take more than all slots."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"webhook_concurrency": _SLOTS, "webhook_host_concurrency": _HOST_SLOTS, "webhook_timeout_s": 20}
    return settings.replace(**limits, drain_s=0.1)


@pytest.fixture
def tarpits() -> Iterator[list[Receiver]]:
    """Receivers that answer no request in the time of a test."""
    with ExitStack() as stack:
        yield [stack.enter_context(Receiver(answers=[slow(60)] * 50).listening()) for _ in range(_TARPITS)]


def _end_jobs(settings: Settings, client: str, *receivers: Receiver | str) -> list[str]:
    """End a job of this client for each of these receivers, which are due in this order."""

    async def end() -> list[str]:
        store = SubmissionStore.connect(settings)
        ids = []
        for each in receivers:
            webhook = Webhook(url=each if isinstance(each, str) else each.url, base_url="http://here/")
            state = await store.submit(new_job(client=client, webhook=webhook))
            await store.cancel(state.job.id)
            ids.append(state.job.id)
        await store.close()
        return ids

    return asyncio.run(end())


def _claimed(settings: Settings, full_hosts: list[str], full_clients: list[str], count: int) -> list[str]:
    async def claim() -> list[str]:
        store = DeliveryStore.connect(settings)
        leases = [await store.claim(full_hosts, full_clients) for _ in range(count)]
        await store.close()
        return [lease.subject.id for lease in leases if lease]

    return asyncio.run(claim())


def test_tarpits_of_one_client_do_not_delay_another(
    settings: Settings, tarpits: list[Receiver], receiver: Receiver
) -> None:
    _end_jobs(settings, "attacker", *tarpits * 4)
    deliverer = DelivererThread(settings)
    while sum(len(each.received) for each in tarpits) < _SLOTS * 3 // 4:
        time.sleep(0.01)
    _end_jobs(settings, "other", *[receiver] * 10)
    receiver.wait_for(10, max_s=15)  # before the first attempt at a tarpit ends
    assert sum(len(each.received) for each in tarpits) == _SLOTS * 3 // 4
    deliverer.stop()


def test_a_client_with_many_due_hosts_is_passed_over_in_one_claim(settings: Settings) -> None:
    _end_jobs(settings, "attacker", *[f"https://{number}.attacker.example/" for number in range(300)])
    (other,) = _end_jobs(settings, "other", "https://other.example/")
    assert _claimed(settings, [], ["attacker"], 2) == [other]


def test_clients_of_a_full_host_do_not_hide_one_of_another_host(settings: Settings) -> None:
    for number in range(150):  # more than one claim looks at
        _end_jobs(settings, f"client-{number}", "https://full.example/")
    (other,) = _end_jobs(settings, "other", "https://other.example/")
    assert _claimed(settings, ["full.example"], [], 3) == [other]


def test_deliveries_of_an_older_version_are_taken_over(settings: Settings) -> None:
    (job_id,) = _end_jobs(settings, "ann", "https://a.example/")
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.delete(key_names.DELIVERY_CLIENTS, key_names.delivery_hosts("ann"))
        redis.rename(key_names.deliveries("a.example ann"), key_names.deliveries("a.example"))
        redis.zadd(key_names.OLD_DELIVERY_HOSTS, {"a.example": 1})
        redis.hdel(key_names.delivery(job_id), "client")
        redis.hdel(key_names.job(job_id), "flow")
        assert _claimed(settings, [], [], 2) == [job_id]
        assert not redis.exists(key_names.OLD_DELIVERY_HOSTS)

    async def next_attempt_at_ms() -> int | None:
        store = DeliveryStore.connect(settings)
        delivery = await store.read(job_id)
        await store.close()
        return delivery.next_attempt_at_ms if delivery else None

    assert asyncio.run(next_attempt_at_ms()) is not None
