"""POST /batches and what follows, over HTTP with a real Redis."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from redis import Redis

from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.pictures import encoded, gradient
from tests.jobs import PNG, assert_problem, finish_next

OTHER = encoded(gradient(32, 32))
KEY = {"Idempotency-Key": "k"}


def post(client: httpx2.Client, *images: bytes, headers: dict[str, str] = KEY, **fields: Any) -> httpx2.Response:
    files = [("image_file", (f"{number}.png", image)) for number, image in enumerate(images)]
    return client.post("/batches", data={"prompt": "cat", **fields}, files=files, headers=headers)


def test_each_image_becomes_a_job_with_its_name(client: httpx2.Client, leases: LeaseStore) -> None:
    response = post(client, PNG, PNG, PNG)
    assert response.status_code == 202, response.text
    batch = response.json()
    assert (batch["total"], batch["refused"], batch["is_ended"]) == (3, [], False)
    names = [client.get(f"/jobs/{job['id']}").json()["file_name"] for job in batch["jobs"]]
    assert names == ["0.png", "1.png", "2.png"]
    for _ in range(3):
        if client.get(f"/batches/{batch['id']}").json()["counts"].get("queued"):
            finish_next(leases)
    ended = client.get(response.headers["location"]).json()
    assert ended["is_ended"]
    assert ended["counts"] == {"succeeded": 3}


def test_a_repeated_request_adds_nothing(client: httpx2.Client) -> None:
    assert post(client, PNG, PNG).json() == post(client, PNG, PNG).json()


def test_a_batch_notifies_each_worker_that_is_asleep_once(
    client: httpx2.Client, leases: LeaseStore, settings: Settings
) -> None:
    for worker in ("worker-1", "worker-2"):
        assert leases.fall_asleep("demo", worker)
    post(client, PNG, PNG, PNG).raise_for_status()
    with Redis.from_url(settings.redis.redis_url) as redis:
        assert redis.llen("maskq.demo") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"images": (PNG,)},
        {"images": (PNG, PNG, PNG)},
        {"images": (PNG, OTHER)},
        {"prompt": "dog"},
        {"ref": "r"},
        {"webhook_url": "https://93.184.215.14/"},
    ],
)
def test_another_request_with_the_same_key_is_refused(client: httpx2.Client, change: dict[str, Any]) -> None:
    first = post(client, PNG, PNG).json()
    changed = post(
        client, *change.get("images", (PNG, PNG)), **{name: change[name] for name in change if name != "images"}
    )
    assert_problem(changed, 422, "idempotency_mismatch")
    assert client.get(f"/batches/{first['id']}").json() == first


def test_a_bad_image_refuses_no_other(client: httpx2.Client) -> None:
    batch = post(client, PNG, b"no image", PNG).json()
    assert [job["index"] for job in batch["jobs"]] == [0, 2]
    assert [(each["index"], each["type"]) for each in batch["refused"]] == [(1, "unsupported_image")]
    assert batch["refused"][0]["file_name"] == "1.png"
    assert client.get(f"/batches/{batch['id']}").json() == batch
    assert post(client, PNG, b"no image", PNG).json() == batch


def test_a_repeated_request_without_a_refused_image_is_another_one(client: httpx2.Client) -> None:
    assert post(client, PNG, b"no image").status_code == 202
    assert_problem(post(client, PNG), 422, "idempotency_mismatch")


def test_a_batch_without_a_usable_image_or_a_key_is_refused(client: httpx2.Client) -> None:
    problem = assert_problem(post(client, b"no image", b""), 422, "batch_refused")
    assert "image 0 (0.png): unsupported_image: " in problem["detail"]
    assert "image 1" not in problem["detail"]
    assert_problem(post(client, PNG, headers={}), 422, "invalid_field")
    assert_problem(client.post("/batches", json={"prompt": "cat"}, headers=KEY), 422, "invalid_field")


def test_a_batch_is_canceled_and_deleted_as_a_whole(client: httpx2.Client, leases: LeaseStore) -> None:
    batch = post(client, PNG, PNG).json()
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert client.post(f"/batches/{batch['id']}/cancel").json()["counts"] == {"canceled": 2}
    url = f"/batches/{batch['id']}"
    assert [client.delete(url).status_code for _ in range(2)] == [204, 204]
    for path in (url, f"{url}/coco", f"{url}/webhooks"):
        assert_problem(client.get(path), 404, "batch_not_found")
    for path in (f"{url}/cancel", f"{url}/webhooks/redeliver"):
        assert_problem(client.post(path), 404, "batch_not_found")
    for job in batch["jobs"]:
        assert_problem(client.get(f"/jobs/{job['id']}"), 410, "job_deleted")


def test_an_unknown_batch_is_not_found(client: httpx2.Client) -> None:
    assert_problem(client.get("/batches/x"), 404, "batch_not_found")
