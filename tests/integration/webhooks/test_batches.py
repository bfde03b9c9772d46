"""The webhook of a batch: one signed message when its last job has ended."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shared.settings import Settings
from testing import scripted_receiver as receivers
from testing.scripted_receiver import Receiver
from tests.integration.webhooks.deployment import FAILURE, PNG, SUCCESS, Deployment
from webhooks.app import DelivererThread


def post(deployment: Deployment, count: int = 2, key: str = "k", **fields: Any) -> dict[str, Any]:
    files = [("image_file", (f"{number}.png", PNG)) for number in range(count)]
    response = deployment.client.post(
        "/batches", data={"prompt": "cat", **fields}, files=files, headers={"Idempotency-Key": key}
    )
    assert response.status_code == 202, response.text
    batch: dict[str, Any] = response.json()
    return batch


def deliveries(deployment: Deployment, batch_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployment.client.get(f"/batches/{batch_id}/webhooks").json()["deliveries"]
    return found


def settled(deployment: Deployment, batch_id: str) -> dict[str, Any]:
    """The delivery, once it is no longer pending."""
    deadline = time.monotonic() + 60
    while not (found := deliveries(deployment, batch_id)) or found[0]["state"] == "pending":
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    (delivery,) = found
    return delivery


@pytest.mark.usefixtures("deliverer")
def test_a_batch_is_announced_once_when_its_last_job_has_ended(
    deployment: Deployment, receiver: Receiver, secret: str
) -> None:
    batch = post(deployment, 3, webhook_url=receiver.url, ref="scans", webhook_events="batch.completed")
    deployment.finish(SUCCESS)
    deployment.finish(FAILURE)
    assert deliveries(deployment, batch["id"]) == []
    deployment.client.post(f"/batches/{batch['id']}/cancel")
    (received,) = receiver.wait_for(1)
    ended = deployment.client.get(f"/batches/{batch['id']}").json()
    assert received.verified(secret) == {
        "type": "batch.completed",
        "timestamp": ended["ended_at"],
        "data": {
            "id": batch["id"],
            "ref": "scans",
            "total": 3,
            "counts": {"succeeded": 1, "failed": 1, "canceled": 1},
            "refused": 0,
            "created_at": ended["created_at"],
            "ended_at": ended["ended_at"],
            "urls": ended["urls"],
        },
    }
    assert deployment.client.get(ended["urls"]["self"]).json() == ended
    delivery = settled(deployment, batch["id"])
    assert (delivery["id"], delivery["type"], delivery["url"]) == (received.id, "batch.completed", receiver.url)
    assert (delivery["state"], len(delivery["attempts"])) == ("delivered", 1)
    for job in batch["jobs"]:
        assert deployment.client.get(f"/jobs/{job['id']}/webhooks").json() == {"deliveries": []}
    assert post(deployment, 3, webhook_url=receiver.url, ref="scans", webhook_events="batch.completed") == ended
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("deliverer")
def test_the_webhook_of_a_batch_is_sent_again(deployment: Deployment, receiver: Receiver) -> None:
    batch = post(deployment, 1, webhook_url=receiver.url)
    refused = deployment.client.post(f"/batches/{batch['id']}/webhooks/redeliver")
    assert (refused.status_code, refused.json()["type"]) == (409, "nothing_to_deliver")
    deployment.finish()
    settled(deployment, batch["id"])
    assert deployment.client.post(f"/batches/{batch['id']}/webhooks/redeliver").status_code == 202
    first, second = receiver.wait_for(2)
    assert (first.id, first.body) == (second.id, second.body)


@pytest.mark.usefixtures("deliverer")
def test_the_webhook_of_a_batch_is_retried(deployment: Deployment, receiver: Receiver) -> None:
    receiver.answers = [receivers.status(500)]
    batch = post(deployment, 1, webhook_url=receiver.url)
    deployment.finish()
    receiver.wait_for(2)
    assert [each["status"] for each in settled(deployment, batch["id"])["attempts"]] == [500, 204]


def test_the_webhook_of_a_deleted_batch_is_not_sent(
    deployment: Deployment, receiver: Receiver, settings: Settings
) -> None:
    ended, unfinished = (post(deployment, 2, key, webhook_url=receiver.url) for key in "ab")
    for _ in range(2):
        deployment.finish()
    for batch in (ended, unfinished):
        assert deployment.client.delete(f"/batches/{batch['id']}").status_code == 204
    deployment.submit_and_finish(receiver.url)
    deliverer = DelivererThread(settings)
    (received,) = receiver.wait_for(1)
    deliverer.stop()
    assert b"job.completed" in received.body
    assert len(receiver.received) == 1


@pytest.mark.parametrize("events", ["job.completed", "batch.ended"])
def test_a_batch_has_its_own_event_only(deployment: Deployment, receiver: Receiver, events: str) -> None:
    response = deployment.client.post(
        "/batches",
        data={"prompt": "cat", "webhook_url": receiver.url, "webhook_events": events},
        files=[("image_file", ("a.png", PNG))],
        headers={"Idempotency-Key": "k"},
    )
    assert (response.status_code, response.json()["type"]) == (422, "invalid_field")
    assert "webhook_events: must be 'batch.completed'" in response.json()["detail"]


def test_a_job_has_no_event_of_batches(deployment: Deployment, receiver: Receiver) -> None:
    response = deployment.try_to_submit(webhook_url=receiver.url, webhook_events="batch.completed")
    assert (response.status_code, response.json()["type"]) == (422, "invalid_field")
