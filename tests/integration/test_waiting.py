"""Waiting for a job without repeated polling: on submit, by long polling, and on a stream of events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from redis import Redis

from api.routes import events
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.factories import segmented_object, success
from testing.servers import front_end, front_end_server
from tests.jobs import PNG, assert_problem, finish_next, submit

_LONG_S = 15
"""Upper bound for a wait that a change of the job ends."""


@pytest.fixture
def soon() -> Iterator[Callable[[Callable[[], object]], None]]:
    """A function that runs another one 0.3 s later, while the test waits."""
    timers: list[threading.Timer] = []

    def start(act: Callable[[], object]) -> None:
        timers.append(threading.Timer(0.3, act))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.join()


Soon = Callable[[Callable[[], object]], None]


def _claim(leases: LeaseStore) -> None:
    assert leases.claim("demo", is_idle=True)


# --- Prefer: wait -----------------------------------------------------------------------------------------------------


def test_a_submission_with_prefer_wait_returns_the_result(
    client: httpx2.Client, leases: LeaseStore, soon: Soon
) -> None:
    soon(lambda: finish_next(leases))
    begin = time.monotonic()
    response = submit(client, headers={"Prefer": "respond-async, wait=30"})
    assert time.monotonic() - begin < _LONG_S
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")
    assert response.headers["preference-applied"] == "wait=30"
    assert "retry-after" not in response.headers


def test_a_submission_whose_wait_ends_returns_the_queued_job(client: httpx2.Client) -> None:
    response = submit(client, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert response.headers["location"] == f"/jobs/{response.json()['id']}"
    assert response.headers["preference-applied"] == "wait=1"


def test_a_preferred_wait_is_limited_and_an_invalid_one_is_ignored(settings: Settings) -> None:
    with (
        front_end(settings.replace(max_wait_s=1.0)) as url,
        httpx2.Client(base_url=url, timeout=20) as client,
    ):
        assert submit(client, headers={"Prefer": "wait=999"}).headers["preference-applied"] == "wait=1"
        response = submit(client, headers={"Prefer": "wait=soon"})
        assert (response.status_code, "preference-applied" in response.headers) == (202, False)


# --- ?wait and ETag ---------------------------------------------------------------------------------------------------


def test_a_wait_is_answered_when_the_job_has_ended(client: httpx2.Client, leases: LeaseStore, soon: Soon) -> None:
    job_id = submit(client).json()["id"]
    soon(lambda: finish_next(leases))  # two transitions; only the second one ends the wait
    begin = time.monotonic()
    assert client.get(f"/jobs/{job_id}", params={"wait": 30}).json()["status"] == "succeeded"
    assert time.monotonic() - begin < _LONG_S


@pytest.mark.slow
def test_waiting_does_not_poll_redis(client: httpx2.Client, leases: LeaseStore, settings: Settings, soon: Soon) -> None:
    url = f"/jobs/{submit(client).json()['id']}"
    soon(lambda: _claim(leases))
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.config_resetstat()
        assert client.get(url, params={"wait": 2}).json()["status"] == "processing"
        assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] < 10


def test_a_wait_with_if_none_match_is_answered_at_the_next_change(
    client: httpx2.Client, leases: LeaseStore, soon: Soon
) -> None:
    url = f"/jobs/{submit(client).json()['id']}"
    known = client.get(url).headers["etag"]
    soon(lambda: _claim(leases))
    begin = time.monotonic()
    response = client.get(url, params={"wait": 30}, headers={"If-None-Match": known})
    assert time.monotonic() - begin < _LONG_S
    assert (response.status_code, response.json()["status"]) == (200, "processing")
    stale = client.get(url, params={"wait": 30}, headers={"If-None-Match": known})
    assert stale.json()["status"] == "processing"  # it has changed already


def test_a_known_state_is_answered_with_304(client: httpx2.Client, leases: LeaseStore) -> None:
    url = f"/jobs/{submit(client).json()['id']}"
    first = client.get(url)
    for known in (first.headers["etag"], f'"other", {first.headers["etag"]}', "*"):
        again = client.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert "retry-after" in again.headers
    held = client.get(url, headers={"If-None-Match": first.headers["etag"]}, params={"wait": 0.2})
    assert held.status_code == 304
    finish_next(leases)
    done = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (done.status_code, done.json()["status"]) == (200, "succeeded")
    assert done.headers["etag"] != first.headers["etag"]


def test_every_state_of_a_job_has_its_own_entity_tag(client: httpx2.Client, leases: LeaseStore) -> None:
    url = f"/jobs/{submit(client).json()['id']}"
    tags = [client.get(url).headers["etag"]]
    for _ in range(2):
        lease = leases.claim("demo", is_idle=True)
        assert lease is not None
        tags.append(client.get(url).headers["etag"])
        leases.release(lease)
        tags.append(client.get(url).headers["etag"])
    client.post(f"{url}/cancel")
    tags.append(client.get(url).headers["etag"])
    assert len(set(tags)) == 6


@pytest.mark.slow
def test_retry_after_grows_with_the_queue_and_shrinks_with_jobs_in_flight(
    client: httpx2.Client, leases: LeaseStore, settings: Settings
) -> None:
    ids = [submit(client).json()["id"] for _ in range(9)]
    first, second = (leases.claim("demo", is_idle=True) for _ in range(2))
    assert first is not None
    assert second is not None
    time.sleep(2.5)
    leases.finish(first, success(segmented_object()))  # so the mean duration is 2.5 s, and one job is in flight

    def retry_after_s(job_id: str) -> int:
        return int(client.get(f"/jobs/{job_id}").headers["retry-after"])

    waits = [retry_after_s(job_id) for job_id in ids[2:]]
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] >= 6 * 2.5 - 1
    _claim(leases)
    _claim(leases)
    assert retry_after_s(ids[-1]) < waits[-1] / 2  # three jobs are in flight now
    assert retry_after_s(second.job.id) == 1  # it has already run for the mean duration


# --- Events -----------------------------------------------------------------------------------------------------------


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream as dicts of fields, with `data` parsed. A comment is an event with the field `comment`."""
    event: dict[str, Any] = {}
    for line in lines:
        if not line:
            yield event
            event = {}
            continue
        name, _, value = line.partition(": ")
        event[name or "comment"] = json.loads(value) if name == "data" else value


def test_a_stream_sends_the_current_state_and_every_change_and_ends(client: httpx2.Client, leases: LeaseStore) -> None:
    job = submit(client).json()
    with client.stream("GET", job["urls"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = _events(response.iter_lines())
        assert next(events)["data"] == job
        lease = leases.claim("demo", is_idle=True)
        assert lease is not None
        assert next(events)["data"]["status"] == "processing"
        leases.finish(lease, success(segmented_object()))
        last = next(events)
        assert last["data"] == client.get(job["urls"]["self"]).json()
        assert list(events) == []
    with client.stream("GET", job["urls"]["events"]) as response:  # after the end: one event
        assert [event["id"] for event in _events(response.iter_lines())] == [last["id"]]
    again = client.get(job["urls"]["events"], headers={"Last-Event-ID": last["id"]})
    assert (again.status_code, again.content) == (204, b"")


def test_a_client_that_reconnects_receives_only_newer_states(
    client: httpx2.Client, leases: LeaseStore, soon: Soon
) -> None:
    job = submit(client).json()
    with client.stream("GET", job["urls"]["events"]) as response:
        seen = next(_events(response.iter_lines()))["id"]
    soon(lambda: _claim(leases))
    with client.stream("GET", job["urls"]["events"], headers={"Last-Event-ID": seen}) as response:
        assert next(_events(response.iter_lines()))["data"]["status"] == "processing"


def test_a_silent_stream_sends_comments_and_ends_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_S", 0.1)
    monkeypatch.setattr(events, "MAX_STREAM_S", 0.55)
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=20) as client:
        url_of_events = submit(client).json()["urls"]["events"]

        def listen(_: int) -> list[dict[str, Any]]:
            with client.stream("GET", url_of_events) as response:
                return list(_events(response.iter_lines()))

        with ThreadPoolExecutor(24) as threads:  # many, because timers fire at different fractions of a millisecond
            streams = list(threads.map(listen, range(24)))
    for first, *pings in streams:
        assert first["data"]["status"] == "queued"
        assert 1 <= len(pings) <= 6
        assert {tuple(ping) for ping in pings} == {("comment",)}


def test_a_client_that_leaves_a_stream_is_no_longer_a_waiter(settings: Settings) -> None:
    with (
        front_end_server(settings) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{server.config.port}") as client,
    ):
        watcher = server.app.state.services.watcher
        job = submit(client).json()
        for _ in range(20):
            with client.stream("GET", job["urls"]["events"]) as response:
                events = _events(response.iter_lines())
                next(events)
                assert len(watcher) >= 1
                del events  # a reference would keep the connection open
        deadline = time.monotonic() + 20
        while len(watcher) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(watcher) == 0


def test_waiters_above_the_limit_are_refused(settings: Settings) -> None:
    small = settings.replace(max_waiters=1)
    with front_end(small) as url, httpx2.Client(base_url=url, timeout=20) as client:
        job = submit(client).json()
        with client.stream("GET", job["urls"]["events"]) as response:
            events = _events(response.iter_lines())
            next(events)
            for busy in (client.get(job["urls"]["self"], params={"wait": 5}), client.get(job["urls"]["events"])):
                assert_problem(busy, 429, "share_exceeded")
                assert int(busy.headers["retry-after"]) > 0
            assert client.get(job["urls"]["self"]).status_code == 200


def test_waiting_requests_are_answered_when_the_process_stops(settings: Settings) -> None:
    answers: list[httpx2.Response] = []
    with front_end_server(settings) as server:
        url = f"http://127.0.0.1:{server.config.port}"
        job = httpx2.post(f"{url}/segment/", data={"prompt": "cat"}, files={"image_file": ("a.png", PNG)}).json()
        waiting = threading.Thread(
            target=lambda: answers.append(httpx2.get(job["urls"]["self"], params={"wait": 60}, timeout=90))
        )
        waiting.start()
        watcher = server.app.state.services.watcher
        while not len(watcher):
            time.sleep(0.01)
        begin = time.monotonic()
    waiting.join()
    assert time.monotonic() - begin < 8  # uvicorn would end the request after 10 s
    assert answers[0].json()["status"] == "queued"
