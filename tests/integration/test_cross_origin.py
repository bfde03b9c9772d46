"""Pages of the origins in MASKQ_CORS_ORIGINS can use the service from a browser, and no other pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx2
import pytest

from api.http.cross_origin import EXPOSED_HEADERS
from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.connections import answers, connection, rest
from tests.jobs import assert_problem, finish_next, submit

_APP = "https://app.example"
_OTHER = "http://localhost:3000"
_PREFLIGHT = {
    "Origin": _APP,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,x-made-up",
}
_FOREIGN = [
    *("https://b.example", "http://app.example", "https://app.example:8443", "https://app.example.b.example"),
    *(
        "null",
        "",
        "https://APP.example",
        "https://app.example/",
        "https://app.example, https://b.example",
        "app.example",
    ),
]
_ALWAYS_SHOWN = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
_FOR_BROWSERS = {"vary", "date", "connection", "transfer-encoding", "server", "x-accel-buffering"}


@pytest.fixture
def allowing(settings: Settings) -> Settings:
    return settings.replace(cors_origins=f"{_APP},{_OTHER}")


@pytest.fixture(params=[True, False], ids=["keys", "no keys"])
def client(allowing: Settings, request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    with front_end(allowing.replace(require_keys=request.param)) as url, httpx2.Client(base_url=url) as client:
        yield client


def _make_key(settings: Settings, burst: int = 100) -> dict[str, str]:
    async def make() -> str:
        store = ApiKeyStore.connect(settings.redis)
        try:
            return (await store.create("a page", [Scope.SUBMIT, Scope.READ], per_minute=1, burst=burst))[1]
        finally:
            await store.close()

    return {"Authorization": f"Bearer {asyncio.run(make())}"}


def _assert_readable(answer: httpx2.Response, origin: str = _APP) -> None:
    assert answer.headers.get_list("access-control-allow-origin") == [origin]
    assert "Origin" in answer.headers["vary"].split(", ")
    assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_is_answered_without_a_key(client: httpx2.Client) -> None:
    for path in ("/segment/", "/jobs", "/jobs/x", "/nothing", "/"):
        answer = client.options(path, headers=_PREFLIGHT)
        assert answer.status_code == 200
        _assert_readable(answer)
        assert {"GET", "HEAD", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
        allowed = answer.headers["access-control-allow-headers"].lower().split(",")
        assert {"authorization", "idempotency-key", "x-made-up"} <= {each.strip() for each in allowed}


@pytest.mark.parametrize("origin", _FOREIGN)
def test_other_origins_are_not_allowed(client: httpx2.Client, origin: str) -> None:
    preflight = client.options("/segment/", headers={**_PREFLIGHT, "Origin": origin})
    assert_problem(preflight, 405, "method_not_allowed")
    for answer in (preflight, client.get("/jobs", headers={"Origin": origin}), client.get("/jobs")):
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "Origin" in answer.headers["vary"]


def test_without_the_setting_nothing_is_allowed(settings: Settings) -> None:
    with front_end(settings) as url, httpx2.Client(base_url=url) as client:
        for answer in (client.options("/segment/", headers=_PREFLIGHT), client.get("/jobs", headers={"Origin": _APP})):
            assert not any(name.startswith("access-control") or name == "vary" for name in answer.headers)


@pytest.mark.parametrize("sent", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_without_keys_exactly_these_origins_may_change_something(allowing: Settings, sent: dict[str, str]) -> None:
    with front_end(allowing) as url, httpx2.Client(base_url=url) as client:
        for origin in (_APP, _OTHER):
            answer = submit(client, headers={"Origin": origin, **sent})
            assert answer.status_code == 202
            _assert_readable(answer, origin)
            assert client.delete(answer.headers["Location"], headers={"Origin": origin, **sent}).status_code == 204
        for origin in _FOREIGN:
            assert_problem(submit(client, headers={"Origin": origin, **sent}), 403, "cross_site_request")
        both = [("Origin", _APP), ("Origin", "https://b.example"), *sent.items()]
        assert_problem(client.post("/segment/", headers=both), 403, "cross_site_request")


def test_errors_can_be_read(allowing: Settings) -> None:
    limited = allowing.replace(require_keys=True, max_image_bytes=1_000, upload_memory_bytes=1_000_000)
    with front_end(limited) as url, httpx2.Client(base_url=url) as client:
        key, origin = _make_key(allowing, burst=1), {"Origin": _APP}
        refused = [
            client.get("/jobs", headers=origin),
            client.post("/segment/", content=b"x" * 200_000, headers={**key, **origin}),
            client.get("/jobs/x", headers={**key, **origin}),
            client.get("/jobs", headers={**key, **origin}),
            client.post("/segment/", headers={**key, **origin}),
            client.post("/segment/", headers={**key, **origin}),
            client.put("/jobs", headers=origin),
            client.get("/nothing", headers=origin),
            client.get("/livez", headers={**origin, "X": "x" * 70_000}),
        ]
    assert [answer.status_code for answer in refused] == [401, 413, 404, 200, 400, 429, 405, 404, 431]
    for answer in refused:
        _assert_readable(answer)
        assert set(answer.headers["access-control-expose-headers"].split(", ")) == set(EXPOSED_HEADERS)


def test_a_store_that_is_away_is_an_error_that_can_be_read(allowing: Settings) -> None:
    with front_end(allowing.replace(redis_url="redis://127.0.0.1:1/0")) as url:
        answer = httpx2.get(f"{url}/jobs", headers={"Origin": _APP}, timeout=30)
    assert answer.status_code == 503
    _assert_readable(answer)


def test_a_connection_that_is_refused_is_readable_if_only_one_origin_is_allowed(allowing: Settings) -> None:
    for origins, expected in ((_APP, True), (f"{_APP},{_OTHER}", False)):
        with front_end(allowing.replace(cors_origins=origins)) as url, connection(url) as client:
            client.sendall(b"\x00\r\n\r\n")
            head = rest(client)
        assert (f"Access-Control-Allow-Origin: {_APP}\r\n".encode() in head) == expected
        assert b"Vary: Origin\r\n" in head


@pytest.mark.parametrize(("origin", "expected"), [(_OTHER, True), ("https://b.example", False)])
def test_what_is_no_request_is_answered_by_its_origin(allowing: Settings, origin: str, expected: bool) -> None:
    with front_end(allowing) as url, connection(url) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nNext: 1\r\n\x00: x\r\n\r\n".encode())
        head = answers(client, 1)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert (f"Access-Control-Allow-Origin: {origin}\r\n".encode() in head) == expected


def test_every_header_that_clients_read_is_exposed(allowing: Settings, leases: LeaseStore) -> None:
    with front_end(allowing.replace(require_keys=True)) as url:
        key = _make_key(allowing)
        with httpx2.Client(base_url=url, headers={**key, "Origin": _APP}) as client:
            seen = [submit(client, headers={"Prefer": "wait=0", "Idempotency-Key": "a"})]
            seen.append(submit(client, headers={"Idempotency-Key": "a"}))
            urls = seen[0].json()["urls"]
            seen.append(client.get(urls["self"]))
            finish_next(leases)
            names = ("self", "overlay", "events", "result")
            seen += [client.get(urls[name]) for name in names if name in urls]
            seen += [client.get(urls["masks"][0]) if urls.get("masks") else client.get("/models")]
            seen += [client.put("/jobs"), client.get("/jobs", headers={"Authorization": "Bearer x"})]
            seen.append(submit(client, headers={"Prefer": "wait=1"}))
            plain = client.get("/jobs", headers={"Origin": "https://b.example"})
    names_seen = {name for answer in seen for name in answer.headers}
    internal = {"x-content-type-options", "x-frame-options", "content-security-policy", "referrer-policy"}
    internal |= {name for name in names_seen if name.startswith(("access-control-", "cross-origin-"))}
    exposed = {name.lower() for name in EXPOSED_HEADERS}
    assert names_seen - internal - _ALWAYS_SHOWN - _FOR_BROWSERS - exposed == set()
    assert "access-control-expose-headers" not in plain.headers
