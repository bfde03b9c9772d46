"""With a key at the default rate, a batch is slowed down before the service refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from maskq import Client, Result
from maskq.errors import KeyRequired

from shared.domain.api_key import Scope
from shared.settings import RedisSettings
from shared.store.api_keys import ApiKeyStore
from testing.faulty_proxy import FaultyProxy, faulty_proxy
from testing.fleet import Fleet

_IMAGES = 180


async def _new_key(url: str) -> str:
    store = ApiKeyStore.connect(RedisSettings(redis_url=url))
    try:
        return (await store.create("batch", [Scope.SUBMIT, Scope.READ]))[1]
    finally:
        await store.close()


@contextmanager
def _guarded(folder: Path) -> Iterator[tuple[FaultyProxy, str]]:
    """A proxy that counts statuses, in front of a service that requires keys; and a key at the default rate."""
    fleet = Fleet(folder, deliverers=0, SCRIPTED_MS="5", MASKQ_REQUIRE_KEYS="true")
    with fleet, faulty_proxy(fleet.url, iter(())) as proxy:
        yield proxy, asyncio.run(_new_key(fleet.broker_url))


@pytest.mark.slow
def test_a_batch_at_the_default_rate_meets_hardly_any_refusal(tmp_path: Path, png: bytes) -> None:
    with _guarded(tmp_path / "fleet") as (proxy, key):
        with Client(proxy.url) as client, pytest.raises(KeyRequired):
            client.segment(png, "cat")
        images = [png + str(number).encode() for number in range(_IMAGES)]
        with Client(proxy.url, key) as client:
            outcomes = [outcome for _, outcome in client.map(images, "cat")]
    assert [type(outcome) for outcome in outcomes] == [Result] * _IMAGES
    assert proxy.statuses[429] < 0.01 * _IMAGES
    assert sum(proxy.statuses.values()) <= 1.1 * _IMAGES


@pytest.mark.slow
def test_a_batch_whose_jobs_are_polled_meets_hardly_any_refusal(tmp_path: Path, png: bytes) -> None:
    with _guarded(tmp_path / "fleet") as (proxy, key), Client(proxy.url, key) as client:
        jobs = [client.submit(png + str(number).encode(), "cat") for number in range(_IMAGES)]
        for job in jobs * 3:
            client.job(job.id)
    assert sum(proxy.statuses.values()) >= 4 * _IMAGES
    assert proxy.statuses[429] < 0.01 * _IMAGES


@pytest.mark.slow
def test_a_batch_of_more_images_than_the_burst_is_accepted_in_few_requests(tmp_path: Path, png: bytes) -> None:
    images = [png + str(number).encode() for number in range(_IMAGES)]
    with _guarded(tmp_path / "fleet") as (proxy, key), Client(proxy.url, key) as client:
        batch = client.submit_batch(images, "cat", ref="one batch")
        requests = proxy.paths.count("POST /batches")
        assert batch.wait(timeout=60).counts == {"succeeded": _IMAGES}
        assert len(list(client.jobs(ref="one batch"))) == _IMAGES
    assert 2 <= requests <= 4
