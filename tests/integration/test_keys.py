"""API keys over HTTP: access, scopes, rate limits, and the jobs that each caller sees."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute
from redis import Redis

from api.app import create_app
from local.broker import free_port, running_broker
from shared.domain.api_key import PREFIX, Scope, fingerprint
from shared.domain.job import new_job_id
from shared.settings import Settings
from shared.store import key_names
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.jobs import assert_problem, finish_next, submit

_BOTH = (Scope.SUBMIT, Scope.READ)
_ASSETS = {"/assets/swagger-ui-5.35.0/{name}", "/assets/page-{version}/{name}"}
_OPEN_PATHS = {"/", "/livez", "/readyz", "/models", "/metrics", "/docs", "/redoc", *_ASSETS}
"""Routes that need no key, since they reveal nothing about jobs. `/metrics` checks the address of the client instead,
as Prometheus has no key (`MASKQ_METRICS_ALLOW`)."""

MakeKey = Callable[..., str]


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.replace(require_keys=True)


@pytest.fixture
def make_key(guarded: Settings) -> MakeKey:
    """A function that makes a key and returns its secret."""

    async def make(name: str, scopes: tuple[Scope, ...], **limits: Any) -> str:
        store = ApiKeyStore.connect(guarded.redis)
        try:
            return (await store.create(name, scopes, **limits))[1]
        finally:
            await store.close()

    return lambda name="somebody", scopes=_BOTH, **limits: asyncio.run(make(name, scopes, **limits))


@pytest.fixture
def url(guarded: Settings) -> Iterator[str]:
    """The address of a front end that requires keys."""
    with front_end(guarded) as url:
        yield url


def _client(url: str, secret: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=20, headers={"Authorization": f"Bearer {secret}"})


# --- Access -----------------------------------------------------------------------------------------------------------


def test_a_key_is_accepted_in_either_header(url: str, make_key: MakeKey) -> None:
    secret = make_key()
    assert httpx2.get(f"{url}/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert httpx2.get(f"{url}/jobs", headers={"X-API-Key": secret}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer maskq_wrong"},
        {"Authorization": "Basic bWFza3E6eA=="},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"X-API-Key": "x" * 10_000},
        {"X-API-Key": "\xff\xfe".encode("latin-1").decode("latin-1")},
    ],
)
def test_a_request_without_a_valid_key_is_refused(url: str, headers: dict[str, str]) -> None:
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    for method, path in (("GET", "/jobs"), ("POST", "/segment/"), ("GET", f"/jobs/{new_job_id()}/events")):
        response = httpx2.request(method, f"{url}{path}", headers=raw)
        assert_problem(response, 401, "key_required")
        assert response.headers["www-authenticate"].startswith("Bearer")


def test_a_caller_without_a_key_is_refused_before_the_body_is_read(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /segment/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(f"{head}Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))  # until the connection is closed, without the body
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert b"100 Continue" not in answer


def test_every_route_checks_the_caller_before_the_body_is_read(guarded: Settings) -> None:
    routes = [route for route in _routes(create_app(guarded).routes) if route.path not in _OPEN_PATHS]
    assert len(routes) >= 6
    for route in routes:
        calls = {getattr(call, "__name__", "") for call in _dependencies(route.dependant)}
        assert "_caller" in calls, f"{route.path} requires no key"
        assert route.body_field is None, f"FastAPI reads the body of {route.path} before the key is checked"


def _routes(routes: Any) -> list[APIRoute]:
    found = [route for route in routes if isinstance(route, APIRoute)]
    for group in routes:
        router = getattr(group, "original_router", None)
        found += _routes(router.routes) if router else []
    return found


def _dependencies(dependant: Any) -> list[Any]:
    return [dependant.call, *(call for each in dependant.dependencies for call in _dependencies(each))]


def test_a_revoked_key_is_refused_at_once_and_no_secret_is_stored(
    url: str, guarded: Settings, make_key: MakeKey
) -> None:
    secret = make_key()
    assert secret.startswith(PREFIX)
    with Redis.from_url(guarded.redis.redis_url) as redis:
        everything = [redis.dump(name) for name in redis.scan_iter("*")]
        assert not any(secret.removeprefix(PREFIX).encode() in (value or b"") for value in everything)
        with _client(url, secret) as client:
            assert client.get("/jobs").status_code == 200
            assert redis.hdel(key_names.API_KEYS, fingerprint(secret)) == 1
            assert_problem(client.get("/jobs"), 401, "key_required")


# --- Scopes and owners ------------------------------------------------------------------------------------------------


def test_each_route_requires_its_scope(url: str, make_key: MakeKey) -> None:
    with (
        _client(url, make_key(scopes=(Scope.SUBMIT,))) as submits,
        _client(url, make_key(scopes=(Scope.READ,))) as reads,
    ):
        job = submit(submits).json()
        refused = submits.get(job["urls"]["self"])
        assert "read" in assert_problem(refused, 403, "scope_missing")["detail"]
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
        assert_problem(submit(reads), 403, "scope_missing")
        assert_problem(reads.post(job["urls"]["cancel"]), 403, "scope_missing")
        assert_problem(reads.delete(f"/jobs/{job['id']}"), 403, "scope_missing")
        assert submits.post(job["urls"]["cancel"]).status_code == 202


@pytest.fixture
def caching(guarded: Settings) -> Settings:
    """Settings of a deployment that uses results again."""
    return guarded.replace(result_cache_s=60)


@pytest.fixture
def caching_leases(caching: Settings) -> Iterator[LeaseStore]:
    with closing(LeaseStore.connect(caching)) as store:
        yield store


def test_a_key_that_may_only_submit_gets_no_result_from_any_answer(
    caching: Settings, make_key: MakeKey, caching_leases: LeaseStore
) -> None:
    same = {"Idempotency-Key": "1"}
    with front_end(caching) as url, _client(url, make_key(scopes=(Scope.SUBMIT,))) as submits:
        job = submit(submits, headers=same).json()
        finish_next(caching_leases)
        answers = [
            submit(submits, headers=same),  # the same key again
            submit(submits, headers={**same, "Prefer": "wait=5"}),
            submit(submits, headers={"Prefer": "wait=5"}),  # from the result cache
        ]
        assert [answer.json()["status"] for answer in answers] == ["succeeded"] * 3
        assert [answer.json()["result"] for answer in answers] == [None] * 3
        assert [answer.json()["urls"]["masks"] for answer in answers] == [[]] * 3
        answers += [submits.get(job["urls"][name]) for name in ("self", "result", "overlay", "events")]
        answers += [submits.post(job["urls"]["cancel"]), submits.get(f"{job['urls']['self']}/masks/0.png")]
        assert {answer.status_code for answer in answers[3:]} == {403, 409}
        assert not any("counts" in answer.text or "raw_text" in answer.text for answer in answers)


def test_a_result_is_used_again_for_its_owner_only(
    caching: Settings, make_key: MakeKey, caching_leases: LeaseStore
) -> None:
    with front_end(caching) as url, _client(url, make_key()) as mine, _client(url, make_key()) as other:
        submit(mine)
        finish_next(caching_leases)
        assert submit(mine).json()["cached"]
        assert not submit(other).json()["cached"]


def test_owners_share_the_result_cache_if_the_operator_wants_it(
    caching: Settings, make_key: MakeKey, caching_leases: LeaseStore
) -> None:
    shared = caching.replace(result_cache_shared=True)
    with front_end(shared) as url, _client(url, make_key()) as mine, _client(url, make_key()) as other:
        submit(mine)
        finish_next(caching_leases)
        assert submit(other).json()["cached"]


def test_the_job_of_another_caller_is_not_found_on_any_route(url: str, make_key: MakeKey, leases: LeaseStore) -> None:
    with _client(url, make_key()) as mine, _client(url, make_key()) as other:
        job = submit(mine).json()
        finish_next(leases)
        urls = mine.get(job["urls"]["self"]).json()["urls"]
        for name, address in ((name, each) for name, value in urls.items() for each in _as_list(value)):
            method = "POST" if name == "cancel" else "GET"
            foreign = other.request(method, address)
            nobodys = other.request(method, address.replace(job["id"], new_job_id()))
            assert_problem(foreign, 404, "job_not_found")
            assert foreign.json()["detail"] == nobodys.json()["detail"]  # it does not reveal that the job exists
        assert other.get("/jobs").json()["jobs"] == []
        assert_problem(other.get("/jobs", params={"cursor": job["id"]}), 422, "invalid_field")
        assert [each["id"] for each in mine.get("/jobs").json()["jobs"]] == [job["id"]]


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_equal_idempotency_keys_of_two_owners_are_independent(url: str, make_key: MakeKey) -> None:
    with _client(url, make_key()) as mine, _client(url, make_key()) as other:
        same = {"Idempotency-Key": "1"}
        assert submit(mine, headers=same).json()["id"] != submit(other, headers=same).json()["id"]


def test_an_admin_sees_lists_and_cancels_all_jobs(url: str, guarded: Settings, make_key: MakeKey) -> None:
    with _client(url, make_key()) as mine, _client(url, make_key(scopes=(Scope.ADMIN,))) as admin:
        job = submit(mine).json()
        assert admin.get(job["urls"]["self"]).status_code == 200
        with Redis.from_url(guarded.redis.redis_url, decode_responses=True) as redis:
            owner = str(redis.hget(key_names.job(job["id"]), "owner"))
        listed = admin.get("/jobs", params={"owner": owner}).json()["jobs"]
        assert [each["id"] for each in listed] == [job["id"]]
        assert admin.get("/jobs").json()["jobs"] == []  # its own
        assert_problem(mine.get("/jobs", params={"owner": "key-other"}), 403, "scope_missing")
        assert mine.get("/jobs", params={"owner": owner}).status_code == 200
        assert admin.post(job["urls"]["cancel"]).json()["status"] == "canceled"


def test_a_larger_share_gives_a_key_more_of_the_queue(url: str, make_key: MakeKey, leases: LeaseStore) -> None:
    with _client(url, make_key()) as one, _client(url, make_key(share=3)) as three:
        many = {submit(three).json()["id"] for _ in range(9)}
        few = {submit(one).json()["id"] for _ in range(9)}
    taken = []
    for _ in range(8):
        lease = leases.claim("demo", is_idle=True)
        assert lease is not None
        taken.append(lease.job.id)
    assert len(many.intersection(taken)) >= 5
    assert few.intersection(taken)


# --- Rate limits ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_burst_is_answered_and_further_requests_get_retry_after(url: str, make_key: MakeKey) -> None:
    with _client(url, make_key(per_minute=20, burst=3)) as client, _client(url, make_key()) as other:
        answers = [submit(client) for _ in range(3)]
        assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"submit";q=3;w=9'] * 3
        assert [_remaining(answer) for answer in answers] == [2, 1, 0]
        refused = submit(client)
        assert "this key may submit again in" in assert_problem(refused, 429, "rate_limited")["detail"]
        assert (_remaining(refused), refused.headers["retry-after"]) == (0, "3")
        assert submit(other).status_code == 202  # other keys are not affected
        time.sleep(3.1)
        assert submit(client).status_code == 202
        assert_problem(submit(client), 429, "rate_limited")


def _remaining(response: httpx2.Response) -> int:
    match = re.fullmatch(r'"(?:submit|read)";r=(\d+);t=\d+', response.headers["ratelimit"])
    assert match is not None
    return int(match[1])


def test_a_rate_beyond_what_a_clock_can_tell_apart_refuses_nothing(url: str, make_key: MakeKey) -> None:
    with _client(url, make_key(per_minute=1e9, burst=1_000_000)) as client:
        assert {client.get("/jobs").status_code for _ in range(50)} == {200}


def test_reads_and_submissions_are_charged_apart(url: str, make_key: MakeKey) -> None:
    with _client(url, make_key(per_minute=1, burst=2)) as client:
        job = submit(client).json()["urls"]["self"]
        reads = [client.get(job), client.head(job), client.get(f"{job}?wait=0.1"), client.get(f"{job}/webhooks")]
        reads += [client.post(f"{job}/cancel"), client.post(f"{job}/webhooks/redeliver"), client.delete(job)]
        assert {answer.headers["ratelimit-policy"] for answer in reads} == {'"read";q=40;w=120'}
        assert [_remaining(answer) for answer in reads] == list(range(39, 32, -1))
        assert _remaining(client.get("/jobs")) == 23  # it reads many jobs
        assert _remaining(submit(client)) == 0
        assert_problem(submit(client), 429, "rate_limited")
        assert client.get(job).status_code == 410
        for _ in range(2):
            client.get("/jobs")
        refused = assert_problem(client.get("/jobs"), 429, "rate_limited")
        assert "this key may read again" in refused["detail"]
        assert client.get(job).status_code == 410


def test_limits_say_what_the_caller_may_do(url: str, make_key: MakeKey) -> None:
    secret = make_key(per_minute=1, burst=2, share=3)
    with _client(url, secret) as client:
        submit(client)
        for _ in range(2):
            limits = client.get("/limits").raise_for_status().json()
        assert limits["rates"] == {
            "submit": {"per_minute": 1, "burst": 2, "remaining": 1},
            "read": {"per_minute": 20, "burst": 40, "remaining": 38},
        }
        assert (limits["share"], limits["max_prompt_chars"], limits["max_wait_s"]) == (3, 512, 60)
        assert submit(client, prompt="a" * limits["max_prompt_chars"]).status_code == 202
        assert secret not in str(limits)
        assert client.head("/limits").headers["content-length"] == client.get("/limits").headers["content-length"]
    with _client(url, make_key(scopes=(Scope.SUBMIT,))) as client:
        assert client.get("/limits").status_code == 200  # whoever submits needs it


def test_every_answer_has_the_rate_limit_headers(url: str, make_key: MakeKey) -> None:
    with _client(url, make_key()) as client:
        job = submit(client).json()
        assert "ratelimit" in client.get(f"/jobs/{new_job_id()}").headers  # a problem
        with client.stream("GET", job["urls"]["events"]) as stream:
            assert "ratelimit" in stream.headers


# --- The command, and the start of a front end ------------------------------------------------------------------------


def _run(command: str, settings: Settings, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", command, *options],
        env={**os.environ, "REDIS_URL": settings.redis.redis_url, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_the_command_creates_lists_and_revokes_keys(settings: Settings) -> None:
    made = _run("local.keys", settings, "create", "Ada's laptop", "--scopes", "read", "--per-minute", "30")
    secret = made.stdout.strip()
    assert re.fullmatch(r"maskq_[\w-]{43}", secret)
    guarded = settings.replace(require_keys=True)
    with front_end(guarded) as url, _client(url, secret) as client:
        assert client.get("/jobs").status_code == 200
        listed = _run("local.keys", settings, "list").stdout
        assert "Ada's laptop" in listed
        assert secret not in listed
        (key_id,) = re.findall(r"key-\w+", listed)
        assert _run("local.keys", settings, "revoke", key_id).returncode == 0
        assert_problem(client.get("/jobs"), 401, "key_required")
    assert _run("local.keys", settings, "revoke", key_id).returncode == 1
    assert _run("local.keys", settings, "create", "x", "--scopes", "root").returncode == 2


@pytest.mark.slow
def test_the_command_uses_the_broker_of_a_folder_running_or_not(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}

    def keys_command(*words: str) -> str:
        command = [sys.executable, "-m", "local.keys", "--data", str(tmp_path), *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout

    assert keys_command("create", "before").startswith(PREFIX)
    with running_broker(tmp_path / "broker"):
        assert keys_command("create", "meanwhile").startswith(PREFIX)
        assert {"before", "meanwhile"} <= set(keys_command("list").split())


@pytest.mark.slow
def test_a_front_end_on_a_public_address_does_not_start_without_keys(settings: Settings, make_key: MakeKey) -> None:
    port = str(free_port())
    refused = _run("api", settings, "--host", "0.0.0.0", "--port", port)
    assert refused.returncode == 78
    assert "scripts/keys create" in refused.stderr
    assert "MASKQ_REQUIRE_KEYS=false" in refused.stderr
    make_key()
    with pytest.raises(subprocess.TimeoutExpired):  # now it runs until it is killed
        subprocess.run(
            [sys.executable, "-m", "api", "--host", "0.0.0.0", "--port", port],
            env={**os.environ, "REDIS_URL": settings.redis.redis_url},
            capture_output=True,
            timeout=5,
            check=False,
        )
