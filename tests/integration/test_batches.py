"""POST /batches and what follows, over HTTP with a real Redis."""

from __future__ import annotations

from typing import Any

import httpx2

from shared.store.leases import LeaseStore
from tests.jobs import PNG, assert_problem, finish_next

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


def test_a_repeated_request_adds_the_images_that_are_missing(client: httpx2.Client) -> None:
    first = post(client, PNG).json()
    again = post(client, PNG, PNG).json()
    assert again["id"] == first["id"]
    assert [job["id"] for job in again["jobs"]][:1] == [job["id"] for job in first["jobs"]]
    assert again["total"] == 2


def test_a_bad_image_refuses_no_other(client: httpx2.Client) -> None:
    batch = post(client, PNG, b"no image", PNG).json()
    assert [job["index"] for job in batch["jobs"]] == [0, 2]
    assert [(each["index"], each["type"]) for each in batch["refused"]] == [(1, "unsupported_image")]


def test_a_batch_without_a_usable_image_or_a_key_is_refused(client: httpx2.Client) -> None:
    assert_problem(post(client, b"no image"), 415, "unsupported_image")
    assert_problem(post(client, PNG, headers={}), 422, "invalid_field")
    assert_problem(client.post("/batches", json={"prompt": "cat"}, headers=KEY), 422, "invalid_field")


def test_a_batch_is_canceled_and_deleted_as_a_whole(client: httpx2.Client, leases: LeaseStore) -> None:
    batch = post(client, PNG, PNG).json()
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert client.post(f"/batches/{batch['id']}/cancel").json()["counts"] == {"canceled": 2}
    assert client.delete(f"/batches/{batch['id']}").status_code == 204
    assert client.get(f"/batches/{batch['id']}").json()["counts"] == {"deleted": 2}


def test_an_unknown_batch_is_not_found(client: httpx2.Client) -> None:
    assert_problem(client.get("/batches/x"), 404, "batch_not_found")
