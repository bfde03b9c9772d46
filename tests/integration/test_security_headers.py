"""Every answer tells browsers how little they may do with it."""

from __future__ import annotations

import httpx2
import pytest

from api.routes import health
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.connections import connection, rest
from tests.jobs import finish_next, submit

_EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def _assert_strict(answer: httpx2.Response) -> None:
    for name, value in _EVERYWHERE.items():
        assert answer.headers.get_list(name) == [value], answer.url
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert answer.headers["cache-control"]


@pytest.mark.parametrize("keys", [True, False])
def test_every_answer_has_the_headers(settings: Settings, leases: LeaseStore, keys: bool) -> None:
    with front_end(settings.replace(require_keys=keys)) as url, httpx2.Client(base_url=url) as client:
        accepted = submit(client)
        paths = [
            "/",
            "/docs",
            "/livez",
            "/readyz",
            "/metrics",
            "/models",
            "/jobs",
            "/openapi.json",
            "/nothing",
            "/jobs/x",
        ]
        if not keys:
            finish_next(leases)
            urls = accepted.json()["urls"]
            paths += [urls["self"], urls["events"], urls["overlay"], *urls["masks"]]
        assert accepted.status_code == (401 if keys else 202)
        _assert_strict(accepted)
        for path in paths:
            for accept in ("text/html", "*/*"):
                _assert_strict(client.get(path, headers={"Accept": accept}))
        for answer in (client.put("/livez"), client.post("/segment/"), client.get("/jobs/"), client.head("/livez")):
            _assert_strict(answer)
        _assert_strict(client.get("/livez", headers={"Host": "attacker.example"}))


def test_an_unexpected_error_has_them_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "Readiness", lambda **_: 1 / 0)
    with front_end(settings) as url:
        answer = httpx2.get(f"{url}/readyz")
    assert answer.status_code == 500
    _assert_strict(answer)


def test_an_answer_to_what_is_no_request_has_them_too(settings: Settings) -> None:
    with front_end(settings) as url, connection(url) as client:
        client.sendall(b"\x00\r\n\r\n")
        head = rest(client).lower()
    for name, value in _EVERYWHERE.items():
        assert f"\r\n{name}: {value}\r\n".encode().lower() in head


def test_jobs_are_not_kept_by_caches_and_a_route_may_decide_otherwise(client: httpx2.Client) -> None:
    job = submit(client).json()
    assert client.get("/jobs").headers["cache-control"] == "no-store"
    assert client.get("/nothing").headers["cache-control"] == "no-store"
    assert client.get(job["urls"]["self"]).headers.get_list("cache-control") == ["private, no-cache"]
