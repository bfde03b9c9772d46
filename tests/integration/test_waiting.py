"""Waiting for a job without asking again and again: on submit, on a poll, on a stream of events."""

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
"""What no wait may last that is answered by an event."""


@pytest.fixture
def soon() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Does something while the test waits."""
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


def test_a_submit_that_prefers_to_wait_is_answered_with_the_result(
    client: httpx2.Client, leases: LeaseStore, soon: Soon
) -> None:
    soon(lambda: finish_next(leases))
    begin = time.monotonic()
    response = submit(client, headers={"Prefer": "respond-async, wait=30"})
    assert time.monotonic() - begin < _LONG_S
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")
    assert response.headers["preference-applied"] == "wait=30"
    assert "retry-after" not in response.headers


def test_a_submit_that_waited_in_vain_is_a_job_as_ever(client: httpx2.Client) -> None:
    response = submit(client, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert response.headers["location"] == f"/jobs/{response.json()['id']}"
    assert response.headers["preference-applied"] == "wait=1"


def test_a_wish_to_wait_for_too_long_is_cut_and_nonsense_ignored(settings: Settings) -> None:
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
    soon(lambda: finish_next(leases))  # two moves, of which the first does not matter
    begin = time.monotonic()
    assert client.get(f"/jobs/{job_id}", params={"wait": 30}).json()["status"] == "succeeded"
    assert time.monotonic() - begin < _LONG_S


@pytest.mark.slow
def test_nobody_asks_redis_again_and_again(
    client: httpx2.Client, leases: LeaseStore, settings: Settings, soon: Soon
) -> None:
    url = f"/jobs/{submit(client).json()['id']}"
    soon(lambda: _claim(leases))
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.config_resetstat()
        assert client.get(url, params={"wait": 2}).json()["status"] == "processing"
        assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] < 10


def test_who_says_what_he_knows_is_answered_when_that_changes(
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


def test_a_known_state_is_not_sent_again(client: httpx2.Client, leases: LeaseStore) -> None:
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


def test_every_state_of_a_job_has_its_own_tag(client: httpx2.Client, leases: LeaseStore) -> None:
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
def test_retry_after_grows_with_the_queue_and_shrinks_with_those_who_work_on_it(
    client: httpx2.Client, leases: LeaseStore, settings: Settings
) -> None:
    ids = [submit(client).json()["id"] for _ in range(9)]
    first, second = (leases.claim("demo", is_idle=True) for _ in range(2))
    assert first is not None
    assert second is not None
    time.sleep(2.5)
    leases.finish(first, success(segmented_object()))  # so a job takes 2.5 s, and one is in hand

    def retry_after_s(job_id: str) -> int:
        return int(client.get(f"/jobs/{job_id}").headers["retry-after"])

    waits = [retry_after_s(job_id) for job_id in ids[2:]]
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] >= 6 * 2.5 - 1
    _claim(leases)
    _claim(leases)
    assert retry_after_s(ids[-1]) < waits[-1] / 2  # three are in hand now
    assert retry_after_s(second.job.id) == 1  # it has taken as long as jobs do


# --- Events -----------------------------------------------------------------------------------------------------------


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream: its fields, `data` read as JSON. Comments count as events named `comment`."""
    event: dict[str, Any] = {}
    for line in lines:
        if not line:
            yield event
            event = {}
            continue
        name, _, value = line.partition(": ")
        event[name or "comment"] = json.loads(value) if name == "data" else value


def test_a_stream_shows_the_present_state_and_every_change_and_ends(client: httpx2.Client, leases: LeaseStore) -> None:
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
    with client.stream("GET", job["urls"]["events"]) as response:  # it has ended: one event, and the end
        assert [event["id"] for event in _events(response.iter_lines())] == [last["id"]]
    again = client.get(job["urls"]["events"], headers={"Last-Event-ID": last["id"]})
    assert (again.status_code, again.content) == (204, b"")


def test_who_comes_back_hears_only_what_is_new(client: httpx2.Client, leases: LeaseStore, soon: Soon) -> None:
    job = submit(client).json()
    with client.stream("GET", job["urls"]["events"]) as response:
        seen = next(_events(response.iter_lines()))["id"]
    soon(lambda: _claim(leases))
    with client.stream("GET", job["urls"]["events"], headers={"Last-Event-ID": seen}) as response:
        assert next(_events(response.iter_lines()))["data"]["status"] == "processing"


def test_a_silent_stream_is_pinged_and_does_not_last_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_S", 0.1)
    monkeypatch.setattr(events, "MAX_STREAM_S", 0.55)
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=20) as client:
        url_of_events = submit(client).json()["urls"]["events"]

        def listen(_: int) -> list[dict[str, Any]]:
            with client.stream("GET", url_of_events) as response:
                return list(_events(response.iter_lines()))

        with ThreadPoolExecutor(24) as threads:  # many, as timers do not ring at the same fraction of a millisecond
            streams = list(threads.map(listen, range(24)))
    for first, *pings in streams:
        assert first["data"]["status"] == "queued"
        assert 1 <= len(pings) <= 6
        assert {tuple(ping) for ping in pings} == {("comment",)}


def test_a_client_that_goes_away_leaves_no_waiter_behind(settings: Settings) -> None:
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
                del events  # or it would keep the connection open
        deadline = time.monotonic() + 20
        while len(watcher) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(watcher) == 0


def test_more_waiters_than_a_process_carries_are_told_so(settings: Settings) -> None:
    small = settings.replace(max_waiters=1)
    with front_end(small) as url, httpx2.Client(base_url=url, timeout=20) as client:
        job = submit(client).json()
        with client.stream("GET", job["urls"]["events"]) as response:
            events = _events(response.iter_lines())
            next(events)
            for busy in (client.get(job["urls"]["self"], params={"wait": 5}), client.get(job["urls"]["events"])):
                assert_problem(busy, 503, "server_busy")
                assert int(busy.headers["retry-after"]) > 0
            assert client.get(job["urls"]["self"]).status_code == 200


def test_who_waits_is_sent_home_when_the_process_ends(settings: Settings) -> None:
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
    assert time.monotonic() - begin < 8  # uvicorn would cut it off after 10
    assert answers[0].json()["status"] == "queued"
