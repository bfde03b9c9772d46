"""Webhooks in the API of the front end: which are accepted, and what it returns about deliveries."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.domain.job import new_job_id
from shared.settings import Settings
from testing.scripted_receiver import Receiver, status
from testing.servers import front_end
from tests.integration.webhooks.deployment import PNG, Deployment
from webhooks.app import DelivererThread

# --- The front end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"webhook_url": "http://example.com/"}, "url_refused", "webhook_url: must begin with https://"),
        ({"webhook_url": "https://127.0.0.1/"}, "url_refused", "webhook_url: the host is not on the public Internet"),
        ({"webhook_url": "https://a:b@example.com/"}, "url_refused", "webhook_url: must not contain a user name"),
        (
            {"webhook_url": ["https://a.com/", "https://b.com/"]},
            "invalid_field",
            "webhook_url: must be text, given once",
        ),
        ({"webhook_events": "job.exploded"}, "invalid_field", "webhook_events: must be 'job.completed'"),
        ({"webhook_events": ["job.completed", ""]}, "invalid_field", "webhook_events: must be 'job.completed'"),
    ],
)
def test_an_invalid_webhook_is_refused_at_submission(
    settings: Settings, fields: dict[str, Any], code: str, detail: str
) -> None:
    strict = settings.replace(url_allow_http=False, url_allow_private=False)
    with front_end(strict) as url:
        deployment = Deployment(strict, url)
        response = deployment.try_to_submit(**fields)
        assert (response.status_code, response.json()["type"]) == (422, code), response.text
        assert response.json()["detail"].startswith(detail)
        assert deployment.client.get("/jobs").json()["jobs"] == []
        deployment.close()


def test_a_webhook_in_a_json_body_is_accepted(deployment: Deployment, receiver: Receiver) -> None:
    body = {"prompt": "cat", "webhook_url": receiver.url, "webhook_events": ["job.completed"]}
    image = base64.b64encode(PNG).decode("ascii")
    response = deployment.client.post("/segment/", json={**body, "image_base64": image})
    assert response.status_code == 202
    deployment.finish()
    assert deployment.delivery(response.json()["id"])["state"] == "pending"


def test_a_request_with_another_webhook_is_another_request(deployment: Deployment, receiver: Receiver) -> None:
    headers = {"Idempotency-Key": "k"}
    first, again = (deployment.try_to_submit(headers, webhook_url=receiver.url).json()["id"] for _ in range(2))
    assert first == again
    response = deployment.try_to_submit(headers, webhook_url=receiver.url + "/2")
    assert (response.status_code, response.json()["type"]) == (422, "idempotency_mismatch")


@pytest.mark.usefixtures("deliverer")
def test_a_delivery_can_be_sent_again(deployment: Deployment, receiver: Receiver, secret: str) -> None:
    receiver.answers = [status(410)]
    job_id = deployment.submit(receiver.url)
    redeliver = f"/jobs/{job_id}/webhooks/redeliver"
    early = deployment.client.post(redeliver)
    assert (early.status_code, early.json()["type"]) == (409, "nothing_to_deliver")
    deployment.finish()
    assert deployment.settled(job_id)["state"] == "failed"
    response = deployment.client.post(redeliver)
    assert (response.status_code, response.json()["deliveries"][0]["state"]) == (202, "pending")
    first, second = receiver.wait_for(2)
    assert first.id == second.id
    assert first.verified(secret) == second.verified(secret)
    assert deployment.settled(job_id)["state"] == "delivered"


def test_unknown_jobs_have_no_deliveries(deployment: Deployment) -> None:
    plain = deployment.try_to_submit().json()["id"]
    assert deployment.client.post(f"/jobs/{plain}/webhooks/redeliver").json()["type"] == "nothing_to_deliver"
    for job_id in (new_job_id(), "xyz"):
        assert deployment.client.get(f"/jobs/{job_id}/webhooks").json()["type"] == "job_not_found"
        assert deployment.client.post(f"/jobs/{job_id}/webhooks/redeliver").json()["type"] == "job_not_found"


def test_a_body_with_other_characters_than_ascii_is_valid_json(
    deployment: Deployment, receiver: Receiver, settings: Settings
) -> None:
    deployment.submit_and_finish(receiver.url, prompt="käse")
    deliverer = DelivererThread(settings)
    (received,) = receiver.wait_for(1)
    deliverer.stop()
    assert json.loads(received.body)["data"]["prompt"] == "segment käse"
