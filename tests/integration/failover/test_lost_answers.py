"""A connection that is lost after a script has run and before its answer has come: what was done once counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore
from testing.answer_cutter import AnswerCutter, answer_cutter
from testing.factories import success
from testing.servers import front_end
from tests.jobs import PNG, assert_problem, submit

_TRIES = 3
"""How often the front end sends a command before it answers 503."""


@pytest.fixture
def cutter(settings: Settings) -> Iterator[AnswerCutter]:
    with answer_cutter(urlsplit(settings.redis.redis_url).port or 0) as cutter:
        yield cutter


@pytest.fixture
def client(settings: Settings, cutter: AnswerCutter) -> Iterator[httpx2.Client]:
    own = settings.replace(redis_url=cutter.url)
    with front_end(own) as url, httpx2.Client(base_url=url, timeout=20, verify=False) as client:
        yield client


@pytest.mark.parametrize("lost", [1, _TRIES])
def test_a_job_is_submitted_once(client: httpx2.Client, cutter: AnswerCutter, lost: int) -> None:
    submit(client)
    headers = {"Idempotency-Key": "mine"}
    cutter.cut_script("submit", lost)
    assert submit(client, headers).status_code == (503 if lost == _TRIES else 202)
    assert submit(client, headers).status_code == 202
    assert len(client.get("/jobs").json()["jobs"]) == 2


@pytest.mark.parametrize("script", ["begin_batch", "submit", "close_batch", "read_batch"])
def test_a_batch_has_each_image_once(client: httpx2.Client, cutter: AnswerCutter, script: str) -> None:
    assert _submit_batch(client, "other").status_code == 202
    cutter.cut_script(script, _TRIES)
    assert_problem(_submit_batch(client, "mine"), 503, "store_unavailable")
    answer = _submit_batch(client, "mine")
    assert (answer.status_code, answer.json()["total"]) == (202, 2), answer.text
    assert len(client.get("/jobs").json()["jobs"]) == 4


def _submit_batch(client: httpx2.Client, key: str) -> httpx2.Response:
    files = [("image_file", (f"{number}.png", PNG)) for number in range(2)]
    return client.post("/batches", data={"prompt": "cat"}, files=files, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_a_job_is_canceled_or_deleted_once(client: httpx2.Client, cutter: AnswerCutter, action: str) -> None:
    first, second, third = (submit(client).json() for _ in range(3))
    assert _act(client, action, first["id"]).is_success
    cutter.cut_script(action)
    assert _act(client, action, second["id"]).is_success  # the front end sent the command again
    cutter.cut_script(action, _TRIES)
    assert_problem(_act(client, action, third["id"]), 503, "store_unavailable")
    again = {"cancel": (409, "job_ended"), "delete": (410, "job_deleted")}[action]
    assert_problem(_act(client, action, third["id"]), *again)


def _act(client: httpx2.Client, action: str, job_id: str) -> httpx2.Response:
    return client.delete(f"/jobs/{job_id}") if action == "delete" else client.post(f"/jobs/{job_id}/cancel")


def test_a_worker_that_did_not_learn_that_it_has_finished_a_job_has_finished_it(
    client: httpx2.Client, cutter: AnswerCutter, settings: Settings
) -> None:
    store = LeaseStore.connect(settings.replace(redis_url=cutter.url))
    for _ in range(2):
        submit(client)
    first, second = (store.claim("demo", is_idle=True) for _ in range(2))
    assert first is not None
    assert second is not None
    assert store.finish(first, success())
    cutter.cut_script("finish")
    with pytest.raises(RedisConnectionError):
        store.finish(second, success())
    assert store.finish(second, success())
    store.close()


def test_a_revoked_key_is_reported_as_revoked(settings: Settings, cutter: AnswerCutter) -> None:
    async def main() -> None:
        store = ApiKeyStore.connect(settings.replace(redis_url=cutter.url).redis)
        key, _ = await store.create("ann", [Scope.READ])
        cutter.cut(b"HDEL")
        assert await store.revoke(key.id)
        assert cutter.left == 0
        assert await store.list() == []
        await store.close()

    asyncio.run(main())
