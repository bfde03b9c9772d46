"""With a key at the default rate, a batch is slowed down before the service refuses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from maskq import Client, Result
from maskq.errors import KeyRequired

from shared.domain.api_key import Scope
from shared.settings import RedisSettings
from shared.store.api_keys import ApiKeyStore
from testing.faulty_proxy import faulty_proxy
from testing.fleet import Fleet

_IMAGES = 180


async def _new_key(url: str) -> str:
    store = ApiKeyStore.connect(RedisSettings(redis_url=url))
    try:
        return (await store.create("batch", [Scope.SUBMIT, Scope.READ]))[1]
    finally:
        await store.close()


@pytest.mark.slow
def test_a_batch_at_the_default_rate_meets_hardly_any_refusal(tmp_path: Path, png: bytes) -> None:
    fleet = Fleet(tmp_path / "fleet", deliverers=0, SCRIPTED_MS="5", MASKQ_REQUIRE_KEYS="true")
    with fleet, faulty_proxy(fleet.url, iter(())) as proxy:
        with Client(proxy.url) as client, pytest.raises(KeyRequired):
            client.segment(png, "cat")
        key = asyncio.run(_new_key(fleet.broker_url))
        images = [png + str(number).encode() for number in range(_IMAGES)]
        with Client(proxy.url, key) as client:
            outcomes = [outcome for _, outcome in client.map(images, "cat")]
        assert [type(outcome) for outcome in outcomes] == [Result] * _IMAGES
        assert proxy.statuses[429] < 0.01 * _IMAGES
        assert sum(proxy.statuses.values()) <= 1.1 * _IMAGES
