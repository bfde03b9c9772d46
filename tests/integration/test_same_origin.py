"""Without API keys, pages of other sites can neither change nor read anything; programs and own pages can."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx2
import pytest

from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from testing.servers import front_end
from tests.connections import answers, assert_refused, connection, rest
from tests.jobs import assert_problem, submit

_FOREIGN = [
    {"Origin": "https://attacker.example"},
    {"Origin": "http://attacker.example:8000"},
    {"Origin": "null"},
    {"Origin": "http://localhost"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "anything"},
    {"Sec-Fetch-Site": "none", "Origin": "https://attacker.example"},
]


@pytest.fixture(scope="module")
def url(valkey_url: str) -> Iterator[str]:
    with front_end(Settings.of(redis_url=valkey_url, accept_unserved=True)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.mark.parametrize("headers", _FOREIGN)
def test_a_page_of_another_site_cannot_change_anything(client: httpx2.Client, headers: dict[str, str]) -> None:
    job = submit(client).json()
    assert_problem(submit(client, headers=headers), 403, "cross_site_request")
    assert_problem(client.post(job["urls"]["cancel"], headers=headers), 403, "cross_site_request")
    for method in ("PUT", "PATCH", "DELETE"):
        assert client.request(method, job["urls"]["self"], headers=headers).status_code == 403
    assert client.get(job["urls"]["self"], headers=headers).json()["status"] == "queued"
    assert "access-control-allow-origin" not in client.get("/jobs", headers=headers).headers


def test_own_pages_and_programs_can(client: httpx2.Client, url: str) -> None:
    for headers in (
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": url},
        {"Origin": url},
        {"Origin": url.upper().replace("HTTP", "http")},
    ):
        assert submit(client, headers=headers).status_code == 202


def test_the_public_url_is_an_own_origin(settings: Settings) -> None:
    with (
        front_end(settings.replace(public_url="https://a.example/maskq")) as url,
        httpx2.Client(base_url=url) as client,
    ):
        assert submit(client, headers={"Origin": "https://a.example", "Host": "a.example"}).status_code == 202
        assert submit(client, headers={"Origin": "https://a.example"}).status_code == 202
        assert submit(client, headers={"Origin": "https://b.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/jobs", "/", "/livez", "/metrics", "/docs", "/openapi.json", "/nothing"])
def test_an_unknown_host_reads_nothing(client: httpx2.Client, path: str) -> None:
    assert_problem(client.get(path, headers={"Host": "attacker.example"}), 421, "misdirected_request")


def test_a_trusted_proxy_cannot_be_made_to_hide_the_host(client: httpx2.Client) -> None:
    """By default a browser on this machine connects from the address of a trusted proxy."""
    forged = {"Host": "attacker.example", "X-Forwarded-Host": "localhost"}
    assert client.get("/jobs", headers=forged).status_code == 421
    assert client.get("/jobs", headers={"X-Forwarded-Host": "attacker.example"}).status_code == 421


def test_a_request_has_one_host_or_none(url: str) -> None:
    with connection(url) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n")
        assert_refused(rest(client), 400, "malformed_request")
    with connection(url) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert answers(client, 1).startswith(b"HTTP/1.1 200 ")


def test_with_keys_every_host_and_origin_is_served(settings: Settings) -> None:
    """A page of another site has no key."""
    with front_end(settings.replace(require_keys=True)) as url, httpx2.Client(base_url=url) as client:
        key = {"X-API-Key": asyncio.run(_make_key(settings))}
        assert submit(client, headers={**key, "Host": "any.example", "Origin": "https://b.example"}).status_code == 202
        assert submit(client, headers={"Host": "any.example"}).status_code == 401


async def _make_key(settings: Settings) -> str:
    store = ApiKeyStore.connect(settings.redis)
    try:
        return (await store.create("somebody", [Scope.SUBMIT]))[1]
    finally:
        await store.close()
