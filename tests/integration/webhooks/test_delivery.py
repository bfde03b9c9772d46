"""Webhooks from the submission to a receiver, which is a real HTTP server that misbehaves in many ways."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from redis import Redis

from local.broker import free_port
from shared.settings import Settings
from shared.store import key_names
from testing import scripted_receiver as receivers
from testing.factories import failure
from testing.scripted_receiver import Answer, Receiver, status
from testing.servers import front_end
from tests.integration.webhooks.deployment import FAILURE, LEASE_S, SUCCESS, TIMEOUT_S, Deployment
from webhooks.app import DelivererThread

# --- What is sent -----------------------------------------------------------------------------------------------------


def _succeed(deployment: Deployment, job_id: str) -> None:
    deployment.finish(SUCCESS)


def _fail(deployment: Deployment, job_id: str) -> None:
    deployment.finish(FAILURE)


def _cancel(deployment: Deployment, job_id: str) -> None:
    assert deployment.client.post(f"/jobs/{job_id}/cancel").status_code == 202


def _cancel_running(deployment: Deployment, job_id: str) -> None:
    assert deployment.leases.claim("demo", is_idle=True) is not None
    _cancel(deployment, job_id)


def _let_deadline_pass(deployment: Deployment, job_id: str) -> None:
    time.sleep(0.25)
    deployment.leases.reap("demo")  # or the front end did it already
    assert deployment.client.get(f"/jobs/{job_id}").json()["status"] == "canceled"


def _lose_workers(deployment: Deployment, job_id: str) -> None:
    for _ in range(4):
        assert deployment.leases.claim("demo", is_idle=True) is not None
        time.sleep(LEASE_S + 0.05)
        deployment.leases.reap("demo")


_ENDS: dict[str, tuple[Callable[[Deployment, str], None], str, str | None]] = {
    "success": (_succeed, "succeeded", None),
    "failure": (_fail, "failed", "inference_failed"),
    "canceled in the queue": (_cancel, "canceled", None),
    "canceled while running": (_cancel_running, "canceled", None),
    "deadline": (_let_deadline_pass, "canceled", "deadline_exceeded"),
    "workers lost": (_lose_workers, "failed", "worker_lost"),
}


@pytest.mark.usefixtures("deliverer")
@pytest.mark.parametrize("name", _ENDS)
def test_every_end_of_a_job_is_announced_and_signed(
    deployment: Deployment, receiver: Receiver, secret: str, name: str
) -> None:
    end, job_status, error = _ENDS[name]
    job_id = deployment.submit(receiver.url, **({"timeout": "0.2"} if name == "deadline" else {}))
    end(deployment, job_id)
    (received,) = receiver.wait_for(1)
    message = received.verified(secret)
    job = deployment.client.get(f"/jobs/{job_id}").json()
    assert (message["type"], message["timestamp"]) == ("job.completed", job["completed_at"])
    assert message["data"] == {name: value for name, value in job.items() if name != "result"}
    assert (message["data"]["status"], (message["data"]["error"] or {}).get("type")) == (job_status, error)
    assert deployment.client.get(message["data"]["urls"]["self"]).json() == job
    assert received.headers["content-type"] == "application/json"
    delivery = deployment.settled(job_id)
    assert (delivery["id"], delivery["type"], delivery["url"]) == (received.id, "job.completed", receiver.url)
    assert (delivery["state"], delivery["next_attempt_at"]) == ("delivered", None)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [204]


@pytest.mark.usefixtures("deliverer")
def test_a_job_that_has_not_ended_is_not_announced(deployment: Deployment, receiver: Receiver) -> None:
    job_id = deployment.submit(receiver.url)
    assert deployment.client.get(f"/jobs/{job_id}/webhooks").json() == {"deliveries": []}


@pytest.mark.usefixtures("deliverer")
def test_a_job_answered_from_the_result_cache_is_announced_too(
    settings: Settings, receiver: Receiver, secret: str
) -> None:
    with front_end(settings.replace(result_cache_s=60)) as url:
        deployment = Deployment(settings.replace(result_cache_s=60), url)
        assert deployment.try_to_submit().status_code == 202
        deployment.finish()
        job_id = deployment.submit(receiver.url)
        (received,) = receiver.wait_for(1)
        assert (received.verified(secret)["data"]["id"], received.verified(secret)["data"]["cached"]) == (job_id, True)
        deployment.close()


@pytest.mark.usefixtures("deliverer")
def test_what_is_the_client_s_own_is_in_the_message(deployment: Deployment, receiver: Receiver, secret: str) -> None:
    deployment.submit_and_finish(receiver.url, ref="scan 7", metadata='{"patient": [7, "\u732b"]}')
    (received,) = receiver.wait_for(1)
    sent = received.verified(secret)["data"]
    assert (sent["ref"], sent["metadata"], sent["file_name"]) == ("scan 7", {"patient": [7, "\u732b"]}, "a.png")


def test_the_webhook_of_a_deleted_job_is_not_sent(
    deployment: Deployment, receiver: Receiver, settings: Settings
) -> None:
    running, ended = deployment.submit(receiver.url), deployment.submit(receiver.url)
    deployment.finish()  # the first of them; its delivery is due
    for job_id in (running, ended):
        assert deployment.client.delete(f"/jobs/{job_id}").status_code == 204
    last = deployment.submit_and_finish(receiver.url)
    deliverer = DelivererThread(settings)
    (received,) = receiver.wait_for(1)
    deliverer.stop()
    assert json.loads(received.body)["data"]["id"] == last
    assert len(receiver.wait_for(1)) == 1


@pytest.mark.usefixtures("deliverer")
def test_the_longest_message_stays_below_20_kb(deployment: Deployment, receiver: Receiver, secret: str) -> None:
    headers = {"Host": "x" * 240 + ".example"}
    own = {"ref": "\U0001f408" * 200, "metadata": json.dumps({"a": "\U0001f408" * 1_020}, ensure_ascii=False)}
    response = deployment.try_to_submit(headers, webhook_url=receiver.url, prompt="\U0001f408" * 504, **own)
    assert response.status_code == 202, response.text
    deployment.finish(failure(detail="x" * 1_000))
    (received,) = receiver.wait_for(1)
    assert received.verified(secret)["data"]["urls"]["self"].startswith("http://xxx")
    assert len(received.body) < 20_000


@pytest.mark.usefixtures("deliverer")
def test_a_job_without_a_webhook_announces_nothing(deployment: Deployment, settings: Settings) -> None:
    job_id = deployment.try_to_submit().json()["id"]
    deployment.finish()
    assert deployment.client.get(f"/jobs/{job_id}/webhooks").json() == {"deliveries": []}
    with Redis.from_url(settings.redis.redis_url) as redis:
        assert not redis.exists(key_names.delivery(job_id), key_names.DELIVERY_CLIENTS)


# --- Receivers that misbehave -----------------------------------------------------------------------------------------

_BAD: dict[str, tuple[Answer, int | None, str | None]] = {
    "500": (status(500), 500, None),
    "404": (status(404), 404, None),
    "429 with Retry-After": (status(429, Retry_After="1"), 429, None),
    "503 with a date": (status(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"), 503, None),
    "nonsense for Retry-After": (status(503, Retry_After="soon"), 503, None),
    "redirect": (status(302, Location="/elsewhere"), 302, None),
    "permanent redirect": (status(308, Location="http://127.0.0.1:1/"), 308, None),
    "too slow": (receivers.slow(TIMEOUT_S * 1.5), None, f"no answer within {TIMEOUT_S:g} s"),
    "hangs up": (receivers.hang_up, None, "the connection failed"),
    "half a head": (receivers.half_a_head, None, "the connection failed"),
    "not http": (receivers.not_http, None, "the connection failed"),
    "endless head": (receivers.endless_head, None, "the connection failed"),
    "endless 100": (receivers.endless_informational, None, "the connection failed"),
    "an hour that is too large": (
        status(503, Retry_After="Wed, 21 Oct 2015 99999999999:28:00 GMT"),
        503,
        None,
    ),
    "a zone that is too large": (status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 +99999999999999"), 503, None),
    "many Retry-After": (receivers.raw(b"HTTP/1.1 503 X\r\n" + b"Retry-After: 1e9\r\n" * 50 + b"\r\n"), 503, None),
    "a status of 20 digits": (receivers.raw(b"HTTP/1.1 " + b"9" * 20 + b" X\r\n\r\n"), None, "the connection failed"),
    "status 999": (receivers.raw(b"HTTP/1.1 999 X\r\n\r\n"), 999, None),
    "status 000": (receivers.raw(b"HTTP/1.1 000 X\r\n\r\n"), None, "the connection failed"),
    "status 101": (receivers.raw(b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n"), None, "the connection failed"),
    "headers in no encoding": (receivers.raw(b"HTTP/1.1 503 \xff\xfe\r\nX: \xff\x80\r\n\r\n"), 503, None),
    "two lengths": (
        receivers.raw(b"HTTP/1.1 503 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        None,
        "the connection failed",
    ),
    "a length of 40 digits": (
        receivers.raw(b"HTTP/1.1 503 X\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n"),
        None,
        "the connection failed",
    ),
    "a body that is not gzip": (receivers.raw(b"HTTP/1.1 503 X\r\nContent-Encoding: gzip\r\n\r\nno"), 503, None),
    "chunks that are none": (receivers.raw(b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\nzz"), 503, None),
    "only a body": (receivers.raw(b"<html>HTTP/0.9</html>"), None, "the connection failed"),
    "nothing but line breaks": (receivers.raw(b"\r\n" * 1_000), None, "the connection failed"),
}


@pytest.mark.usefixtures("deliverer")
@pytest.mark.parametrize("name", _BAD)
def test_a_failed_delivery_is_sent_again_with_the_same_id(
    deployment: Deployment, receiver: Receiver, secret: str, name: str
) -> None:
    answer, code, error = _BAD[name]
    receiver.answers = [answer]
    job_id = deployment.submit_and_finish(receiver.url)
    first, second = receiver.wait_for(2)
    assert first.id == second.id
    assert first.body == second.body
    assert first.verified(secret) == second.verified(secret)
    assert {first.path, second.path} == {"/hook"}
    delivery = deployment.settled(job_id)
    assert delivery["state"] == "delivered"
    assert [(each["status"], each["error"]) for each in delivery["attempts"]] == [(code, error), (204, None)]
    if name == "429 with Retry-After":
        assert second.at - first.at >= 1


@pytest.mark.usefixtures("deliverer")
def test_attempts_are_counted_by_the_status_they_led_to(deployment: Deployment, receiver: Receiver) -> None:
    receiver.answers = [status(503)]
    deployment.settled(deployment.submit_and_finish(receiver.url))
    text = deployment.client.get("/metrics").text
    counted = dict(re.findall(r'maskq_webhook_attempts_total\{state="(\w+)"\} (\S+)', text))
    assert counted == {"pending": "1.0", "delivered": "1.0", "failed": "0.0"}


@pytest.mark.usefixtures("deliverer")
def test_a_date_in_retry_after_is_respected(deployment: Deployment, receiver: Receiver) -> None:
    later = datetime.now(UTC) + timedelta(seconds=3)
    receiver.answers = [status(503, Retry_After=format_datetime(later, usegmt=True))]
    deployment.submit_and_finish(receiver.url)
    first, second = receiver.wait_for(2)
    assert second.at - first.at > 1


@pytest.mark.usefixtures("deliverer")
def test_an_endless_response_is_not_read(deployment: Deployment, receiver: Receiver) -> None:
    receiver.answers = [receivers.endless_body]
    delivery = deployment.settled(deployment.submit_and_finish(receiver.url))
    assert (delivery["state"], [each["status"] for each in delivery["attempts"]]) == ("delivered", [200])


@pytest.mark.usefixtures("deliverer")
def test_a_receiver_that_was_down_gets_the_webhook_when_it_is_back(deployment: Deployment, secret: str) -> None:
    receiver = Receiver(port=free_port())
    job_id = deployment.submit_and_finish(receiver.url)
    deployment.wait_for(job_id, lambda delivery: bool(delivery["attempts"]))
    with receiver.listening():
        (received,) = receiver.wait_for(1)
        assert received.verified(secret)["data"]["id"] == job_id
        delivery = deployment.settled(job_id)
    assert delivery["state"] == "delivered"
    assert delivery["attempts"][0]["error"] == "the connection failed"


@pytest.mark.usefixtures("deliverer")
def test_a_receiver_that_responds_410_gets_no_further_attempt(deployment: Deployment, receiver: Receiver) -> None:
    receiver.answers = [status(410)]
    delivery = deployment.settled(deployment.submit_and_finish(receiver.url))
    assert (delivery["state"], [each["status"] for each in delivery["attempts"]]) == ("failed", [410])
    time.sleep(1)
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("deliverer")
def test_a_delivery_fails_when_its_schedule_ends(deployment: Deployment, receiver: Receiver) -> None:
    receiver.answers = [status(500)] * 9
    delivery = deployment.settled(deployment.submit_and_finish(receiver.url))
    assert (delivery["state"], [each["status"] for each in delivery["attempts"]]) == ("failed", [500] * 4)


@pytest.mark.usefixtures("deliverer")
def test_nothing_is_sent_after_the_job_has_expired(deployment: Deployment, receiver: Receiver) -> None:
    receiver.answers = [status(503, Retry_After=str(deployment.settings.retention.retention_s))]
    delivery = deployment.settled(deployment.submit_and_finish(receiver.url))
    assert (delivery["state"], len(delivery["attempts"])) == ("failed", 1)


def test_deliveries_of_expired_jobs_are_removed(deployment: Deployment, receiver: Receiver, settings: Settings) -> None:
    gone, kept = (deployment.submit_and_finish(receiver.url) for _ in range(2))
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.delete(key_names.job(gone), key_names.delivery(gone), key_names.result(gone))
        deliverer = DelivererThread(settings)
        deployment.settled(kept)
        deliverer.stop()
        assert not redis.exists(key_names.DELIVERY_CLIENTS)
    assert len(receiver.received) == 1
    assert deployment.client.get(f"/jobs/{gone}/webhooks").status_code == 410


def test_a_slow_receiver_does_not_delay_others(deployment: Deployment, receiver: Receiver, settings: Settings) -> None:
    with Receiver().listening() as other:
        receiver.answers = [receivers.slow(30)] * 40
        slow = [deployment.submit_and_finish(receiver.url) for _ in range(20)]
        quick = [deployment.submit_and_finish(other.url) for _ in range(20)]
        limits = {"webhook_concurrency": 8, "webhook_host_concurrency": 4, "webhook_timeout_s": 20, "drain_s": 0.1}
        deliverer = DelivererThread(settings.replace(**limits))
        begin = time.monotonic()
        other.wait_for(20, max_s=15)
        assert time.monotonic() - begin < 15  # before the first slow delivery times out
        assert len(receiver.received) == 4
        for job_id in quick:
            assert deployment.settled(job_id)["state"] == "delivered"
        assert {deployment.delivery(job_id)["state"] for job_id in slow} == {"pending"}
        deliverer.stop()


def test_a_refused_address_is_never_called(deployment: Deployment, receiver: Receiver, settings: Settings) -> None:
    job_id = deployment.submit_and_finish(receiver.url)
    deliverer = DelivererThread(settings.replace(url_allow_private=False))
    delivery = deployment.settled(job_id)
    deliverer.stop()
    assert delivery["state"] == "failed"
    assert {each["error"] for each in delivery["attempts"]} == {"webhook_url: only ports 80 and 443 are allowed"}
    assert receiver.received == []
