"""What one client does harms no other: overlays, uploads, waits and fetches are shared, and end with their client."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

import httpx2
import pytest
from PIL import Image
from redis import Redis
from redis.exceptions import RedisError

from api.routes import events, results
from api.server import FrontEndServer
from shared.domain.api_key import Scope
from shared.errors import JobExpired
from shared.settings import Settings
from shared.store import key_names
from shared.store.api_keys import ApiKeyStore
from shared.store.job_state import JobState
from shared.store.leases import LeaseStore
from shared.store.submissions import SubmissionStore
from testing.pictures import encoded
from testing.servers import front_end_server, website
from tests.jobs import PNG, assert_problem, finish_next, submit

_PATIENCE_S = 20
_PHOTO = encoded(Image.effect_noise((700, 700), 90).convert("RGB"))
"""Noise, which does not compress: 1.2 MB."""


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.replace(
        require_keys=True,
        max_image_bytes=2_000_000,
        upload_memory_bytes=8_000_000,
        max_waiters=4,
        max_fetches=4,
        url_allow_http=True,
        url_allow_private=True,
    )


@pytest.fixture
def server(guarded: Settings) -> Iterator[FrontEndServer]:
    with front_end_server(guarded) as server:
        yield server


def _secret(settings: Settings, name: str, **limits: int) -> str:
    async def make() -> str:
        store = ApiKeyStore.connect(settings.redis)
        try:
            return (await store.create(name, (Scope.SUBMIT, Scope.READ), **limits))[1]
        finally:
            await store.close()

    return asyncio.run(make())


@pytest.fixture
def secret(guarded: Settings) -> str:
    """The API key of `greedy`."""
    return _secret(guarded, "greedy")


@pytest.fixture
def greedy(server: FrontEndServer, secret: str) -> Iterator[httpx2.Client]:
    """A client that uses all it can get."""
    with _client(server, secret) as client:
        yield client


@pytest.fixture
def neighbour(server: FrontEndServer, guarded: Settings) -> Iterator[httpx2.Client]:
    """A client with another API key."""
    with _client(server, _secret(guarded, "neighbour")) as client:
        yield client


def _client(server: FrontEndServer, secret: str) -> httpx2.Client:
    url = f"http://127.0.0.1:{server.config.port}"
    return httpx2.Client(base_url=url, timeout=_PATIENCE_S, headers={"X-API-Key": secret}, verify=False)


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _revoke_all(settings: Settings) -> None:
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.delete(key_names.API_KEYS)


def _sent(server: FrontEndServer, open_connections: ExitStack, request: bytes) -> socket.socket:
    address = ("127.0.0.1", server.config.port)
    connection = open_connections.enter_context(socket.create_connection(address, timeout=_PATIENCE_S))
    connection.sendall(request)
    return connection


def _get(path: str, secret: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n\r\n".encode()


# --- Overlays ---------------------------------------------------------------------------------------------------------


class _Studio:
    """Replaces the drawing of overlays: it takes until the test ends it, and counts."""

    def __init__(self) -> None:
        self.drawn = 0
        self._may_end = threading.Event()

    def __call__(self, *_: object) -> bytes:
        self.drawn += 1
        self._may_end.wait(_PATIENCE_S)
        return b"png"

    def end(self) -> None:
        self._may_end.set()


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Studio]:
    studio = _Studio()
    monkeypatch.setattr(results, "draw_overlay", studio)
    yield studio
    studio.end()


def _finished(client: httpx2.Client, leases: LeaseStore) -> str:
    job_id: str = submit(client).raise_for_status().json()["id"]
    finish_next(leases)
    return job_id


def test_overlays_that_take_long_delay_nobody_else_and_end_with_their_client(
    server: FrontEndServer,
    greedy: httpx2.Client,
    neighbour: httpx2.Client,
    secret: str,
    leases: LeaseStore,
    studio: _Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str] = []
    load = SubmissionStore.image

    async def image(store: SubmissionStore, job_id: str) -> bytes | None:
        loaded.append(job_id)
        return await load(store, job_id)

    monkeypatch.setattr(SubmissionStore, "image", image)
    theirs = [_finished(greedy, leases) for _ in range(12)]
    mine = _finished(neighbour, leases)
    with ExitStack() as open_connections:
        for job_id in theirs:
            _sent(server, open_connections, _get(f"/jobs/{job_id}/overlay.png", secret))
        requests = server.app.state.services.overlays
        _until(lambda: studio.drawn + requests.waiting == 12)
        assert neighbour.get(f"/jobs/{mine}/masks/0.png").status_code == 200
        assert greedy.get(f"/jobs/{theirs[0]}/masks/0.png").status_code == 200
        assert len(loaded) == 3  # images of those that wait are not in memory
    _until(lambda: requests.waiting == 0)
    studio.end()
    assert neighbour.get(f"/jobs/{mine}/overlay.png").content == b"png"
    assert studio.drawn == 4


def test_an_overlay_is_drawn_once_and_cached_by_the_client(
    greedy: httpx2.Client, leases: LeaseStore, studio: _Studio
) -> None:
    studio.end()
    path = f"/jobs/{_finished(greedy, leases)}"
    for name in ("overlay.png", "masks/0.png", "result", "result?format=coco"):
        first = greedy.get(f"{path}/{name}")
        assert (first.status_code, first.headers["cache-control"]) == (200, "private, max-age=3600, immutable")
        assert greedy.get(f"{path}/{name}").content == first.content
        known = greedy.get(f"{path}/{name}", headers={"If-None-Match": first.headers["etag"]})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first.headers["etag"])
        other = greedy.get(f"{path}/{name}", headers={"If-None-Match": 'W/"other"'})
        assert (other.status_code, other.content) == (200, first.content)
        head = greedy.head(f"{path}/{name}")
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
        assert head.headers["content-length"] == first.headers["content-length"]
    assert studio.drawn == 1


def test_a_client_asks_for_a_bounded_number_of_overlays_at_once(
    server: FrontEndServer, greedy: httpx2.Client, secret: str, leases: LeaseStore, studio: _Studio
) -> None:
    job_id = _finished(greedy, leases)
    with ExitStack() as open_connections:
        request = _get(f"/jobs/{job_id}/overlay.png", secret)
        connections = [_sent(server, open_connections, request) for _ in range(49)]
        answers: list[socket.socket] = []
        while not answers:  # one of them has its answer at once
            answers = [each for each in connections if _has_answer(each)]
        assert [each.recv(12) for each in answers] == [b"HTTP/1.1 429"]
        studio.end()
        others = [each for each in connections if each not in answers]
        assert {each.recv(12) for each in others} == {b"HTTP/1.1 200"}
    assert studio.drawn == 1


def _has_answer(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(_PATIENCE_S)


# --- Memory -----------------------------------------------------------------------------------------------------------


class _ImageServer(BaseHTTPRequestHandler):
    """Sends all of an image but its last byte, and that one when the test says so."""

    may_end: threading.Event
    declares_length = True

    def do_GET(self) -> None:
        self.send_response(200)
        if self.declares_length:
            self.send_header("Content-Length", str(len(_PHOTO)))
        self.end_headers()
        self.wfile.write(_PHOTO[:-1])
        self.may_end.wait(_PATIENCE_S)
        self.wfile.write(_PHOTO[-1:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["declared", "chunked"])
def image_url(request: pytest.FixtureRequest) -> Iterator[str]:
    _ImageServer.may_end = threading.Event()
    _ImageServer.declares_length = request.param
    with website(_ImageServer) as url:
        yield url
        _ImageServer.may_end.set()


def _in_threads(*calls: Callable[[], httpx2.Response]) -> tuple[list[threading.Thread], list[httpx2.Response]]:
    answers: list[httpx2.Response] = []
    threads = [threading.Thread(target=lambda call=call: answers.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    return threads, answers


def test_images_behind_urls_are_counted_and_shared(
    server: FrontEndServer, greedy: httpx2.Client, neighbour: httpx2.Client, image_url: str
) -> None:
    room = server.app.state.image_memory

    def fetch() -> httpx2.Response:
        return greedy.post("/segment/", json={"prompt": "cat", "image_url": image_url})

    threads, answers = _in_threads(*[fetch] * 12)
    _until(lambda: len(answers) >= 10)  # refused: two images of 1.5 MB, each twice, are most of a share of 8 MB
    assert {each.status_code for each in answers} == {429}
    assert room.in_use <= 6_000_000
    assert submit(neighbour).status_code == 202
    _ImageServer.may_end.set()
    for thread in threads:
        thread.join()
    _until(lambda: room.in_use == 0)
    assert fetch().status_code == 202


def test_a_client_fetches_only_its_share_of_urls_at_once(
    greedy: httpx2.Client, neighbour: httpx2.Client, image_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        def fetch() -> httpx2.Response:
            return greedy.post("/segment/", json={"prompt": "cat", "image_url": url})

        threads, answers = _in_threads(*[fetch] * 4)
        _until(lambda: len(answers) == 1)
        assert_problem(answers[0], 429, "share_exceeded")
        _ImageServer.may_end.set()
        fetched = neighbour.post("/segment/", json={"prompt": "cat", "image_url": image_url})
        assert fetched.status_code == 202
    for thread in threads:
        thread.join()


def test_an_upload_that_is_not_finished_leaves_room_for_others(
    server: FrontEndServer, greedy: httpx2.Client, neighbour: httpx2.Client, secret: str
) -> None:
    head = (
        f"POST /segment/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\nContent-Type: application/json\r\n"
        "Content-Length: 1400000\r\n\r\n"
    )
    with ExitStack() as open_connections:
        for _ in range(4):  # the third and fourth are refused
            _sent(server, open_connections, head.encode() + b'{"prompt": "cat"')
        _until(lambda: server.app.state.image_memory.in_use == 5_600_000)
        assert_problem(_json_photo(greedy), 429, "share_exceeded")
        assert submit(neighbour).status_code == 202
    _until(lambda: server.app.state.image_memory.in_use == 0)
    assert _json_photo(greedy).status_code == 202


def _json_photo(client: httpx2.Client, **headers: str) -> httpx2.Response:
    body = json.dumps({"prompt": "cat", "image_base64": b64encode(_PHOTO).decode()})
    return client.post("/segment/", content=body, headers={"Content-Type": "application/json", **headers})


def test_nothing_is_counted_for_a_client_without_a_key(server: FrontEndServer) -> None:
    room = server.app.state.image_memory
    head = b"POST /segment/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1400000\r\n\r\n{"
    with ExitStack() as open_connections:
        connection = _sent(server, open_connections, head)
        assert connection.recv(12) == b"HTTP/1.1 401"
    assert room.in_use == 0


# --- Waits ------------------------------------------------------------------------------------------------------------


def test_a_client_waits_only_with_its_share_of_requests(
    server: FrontEndServer, greedy: httpx2.Client, neighbour: httpx2.Client, secret: str, leases: LeaseStore
) -> None:
    theirs, mine = (submit(client).json()["id"] for client in (greedy, neighbour))
    watcher = server.app.state.services.watcher
    with ExitStack() as open_connections:
        for path in (f"/jobs/{theirs}?wait=30", f"/jobs/{theirs}/events", f"/jobs/{theirs}?wait=30"):
            _sent(server, open_connections, _get(path, secret))
        _until(lambda: len(watcher) == 3)
        assert_problem(greedy.get(f"/jobs/{theirs}", params={"wait": 5}), 429, "share_exceeded")
        assert_problem(greedy.get(f"/jobs/{theirs}/events"), 429, "share_exceeded")
        with neighbour.stream("GET", f"/jobs/{mine}/events") as stream:
            assert stream.status_code == 200
            assert next(stream.iter_lines())
    _until(lambda: len(watcher) == 0)


def test_a_job_is_accepted_although_its_client_may_not_wait(
    server: FrontEndServer, greedy: httpx2.Client, secret: str
) -> None:
    job = submit(greedy).json()
    with ExitStack() as open_connections:
        for _ in range(3):
            _sent(
                server,
                open_connections,
                _get(job["urls"]["self"].partition(f":{server.config.port}")[2] + "?wait=30", secret),
            )
        _until(lambda: len(server.app.state.services.watcher) == 3)
        answer = submit(greedy, headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["location"] == f"/jobs/{answer.json()['id']}"
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("error", [RedisError("away"), JobExpired("gone")])
def test_a_job_is_accepted_although_the_store_fails_while_its_client_waits(
    server: FrontEndServer, greedy: httpx2.Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(SubmissionStore, "read", fail)
    answer = submit(greedy, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["location"] == f"/jobs/{answer.json()['id']}"
    assert "preference-applied" not in answer.headers


def test_a_job_is_canceled_although_the_store_fails_afterwards(
    greedy: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = SubmissionStore.read, 0

    async def read_once(store: SubmissionStore, job_id: str, *, with_result: bool = True) -> JobState:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise RedisError
        return await read(store, job_id, with_result=with_result)

    job = submit(greedy).json()
    monkeypatch.setattr(SubmissionStore, "read", read_once)
    assert greedy.post(job["urls"]["cancel"]).status_code == 202
    assert reads == 2
    assert greedy.get(job["urls"]["self"]).json()["status"] == "canceled"


@pytest.mark.parametrize("host", ["[", "x" * 3_000, "a b", "é", "user@x:99999", ""])
def test_a_job_is_accepted_or_refused_whatever_host_is_named(
    server: FrontEndServer, greedy: httpx2.Client, secret: str, host: str
) -> None:
    """An error after a job is stored would make its client send it again."""
    body = json.dumps({"prompt": "cat", "image_base64": b64encode(PNG).decode()})
    head = (
        f"POST /segment/ HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {secret}\r\nContent-Type: application/json\r\n"
        f"Prefer: wait=0\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with ExitStack() as open_connections:
        connection = _sent(server, open_connections, head.encode("latin-1") + body.encode())
        answer = connection.recv(12)
    jobs = greedy.get("/jobs").json()["jobs"]
    assert (answer == b"HTTP/1.1 202") == bool(jobs)


def test_a_request_for_a_job_is_charged_once(server: FrontEndServer, guarded: Settings) -> None:
    with _client(server, _secret(guarded, "slow", per_minute=1, burst=20)) as client:
        job_id = submit(client).json()["id"]
        left = []
        for path in ("", "/events", "/masks/0.png", "/overlay.png", "/result", "?wait=0.1"):
            with client.stream("GET", f"/jobs/{job_id}{path}") as answer:
                left.append(int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0]))
    assert left == [399, 398, 397, 396, 395, 394]


def test_a_submission_that_waits_keeps_no_image_in_memory(
    server: FrontEndServer, greedy: httpx2.Client, leases: LeaseStore
) -> None:
    threads, answers = _in_threads(lambda: _json_photo(greedy, Prefer="wait=30"))
    _until(lambda: len(server.app.state.services.watcher) == 1)
    assert server.app.state.image_memory.in_use == 0
    finish_next(leases)
    threads[0].join()
    assert answers[0].status_code == 200


# --- Revoked keys -----------------------------------------------------------------------------------------------------


def test_a_stream_ends_when_its_key_is_revoked(
    greedy: httpx2.Client, guarded: Settings, leases: LeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(greedy).json()["id"]
    with greedy.stream("GET", f"/jobs/{job_id}/events") as response:
        lines = response.iter_lines()
        assert next(lines)
        _revoke_all(guarded)
        finish_next(leases)
        assert "succeeded" not in "".join(lines)


def test_a_silent_stream_ends_when_its_key_is_revoked(
    greedy: httpx2.Client, guarded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_S", 0.1)
    job_id = submit(greedy).json()["id"]
    with greedy.stream("GET", f"/jobs/{job_id}/events") as response:
        lines = response.iter_lines()
        assert next(lines)
        _revoke_all(guarded)
        assert len(list(lines)) < 1_000


def test_a_long_poll_of_a_revoked_key_gets_no_result(
    server: FrontEndServer, greedy: httpx2.Client, guarded: Settings, leases: LeaseStore
) -> None:
    job_id = submit(greedy).json()["id"]
    threads, answers = _in_threads(
        lambda: greedy.get(f"/jobs/{job_id}", params={"wait": 30}),
        lambda: submit(greedy, headers={"Prefer": "wait=30"}),
    )
    _until(lambda: len(server.app.state.services.watcher) == 2)
    _revoke_all(guarded)
    finish_next(leases)
    finish_next(leases)
    for thread in threads:
        thread.join()
    polled, submitted = sorted(answers, key=lambda answer: -answer.status_code)
    assert_problem(polled, 401, "key_required")
    assert (submitted.status_code, submitted.json()["status"]) == (202, "queued")
    assert "preference-applied" not in submitted.headers
