"""The address of a request: what a public URL, trusted proxies and others decide about it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from api.http.public_address import PublicAddress, base_url, prefix

_PROXY = "10.0.0.7"
_STRANGER = "203.0.113.9"


def _seen(
    path: str, headers: dict[str, str], *, public_url: str = "", client: str = _PROXY, trusted: str = "10.0.0.0/8"
) -> Request:
    """The request as the application sees it."""
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    pairs = [(name.lower().encode(), value.encode()) for name, value in {"Host": "api:8000", **headers}.items()]
    scope = {"type": "http", "scheme": "http", "path": path, "root_path": "", "headers": pairs, "query_string": b""}
    nothing: Any = None
    asyncio.run(PublicAddress(application, public_url, trusted)({**scope, "client": (client, 1)}, nothing, nothing))
    return Request(seen[0])


@pytest.mark.parametrize("path", ["/jobs", "/maskq/jobs"])
@pytest.mark.parametrize("client", [_PROXY, _STRANGER])
def test_a_public_url_decides_whatever_headers_say(path: str, client: str) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    request = _seen(
        path, {**forged, "X-Forwarded-Prefix": "/evil"}, public_url="https://a.example/maskq", client=client
    )
    assert base_url(request) == "https://a.example/maskq/"
    assert prefix(request) == "/maskq"
    assert str(request.url) == "https://a.example/maskq/jobs"


@pytest.mark.parametrize("url", ["http://[::1]:8000", "https://a.example:8443/a/b.c", "http://my_host/~x"])
def test_every_kind_of_public_url_becomes_the_base(url: str) -> None:
    assert base_url(_seen("/", {}, public_url=url)) == f"{url}/"


def test_a_path_that_only_begins_like_the_prefix_is_no_prefix() -> None:
    assert _seen("/maskqueue", {}, public_url="https://a.example/maskq").url.path == "/maskq/maskqueue"


def test_the_headers_of_a_trusted_proxy_count() -> None:
    headers = {"X-Forwarded-Host": "a.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/maskq/"}
    request = _seen("/jobs", {**headers, "X-Forwarded-For": f"1.2.3.4, {_STRANGER}"})
    assert str(request.url) == "https://a.example/maskq/jobs"
    assert request.client is not None
    assert request.client.host == _STRANGER  # the last one that is no proxy: a client can invent those before it


def test_the_headers_of_others_do_not_count() -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
    request = _seen("/jobs", {**headers, "X-Forwarded-For": "127.0.0.1"}, client=_STRANGER)
    assert str(request.url) == "http://api:8000/jobs"
    assert request.client is not None
    assert request.client.host == _STRANGER


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a:b", "a:123456", "<script>", "a.example,", "a\\b"])
def test_a_forwarded_host_that_is_none_is_ignored(host: str) -> None:
    assert base_url(_seen("/", {"X-Forwarded-Host": host})) == "http://api:8000/"


@pytest.mark.parametrize("path", ["", "/", "maskq", "//evil.example", "/a/../b", "/.", '/"><script>', "/a?b", "/a b"])
def test_a_forwarded_prefix_that_is_no_path_is_ignored(path: str) -> None:
    assert base_url(_seen("/", {"X-Forwarded-Prefix": path})) == "http://api:8000/"


def test_of_several_hosts_the_one_of_the_nearest_proxy_counts() -> None:
    assert base_url(_seen("/", {"X-Forwarded-Host": "evil.example, a.example"})) == "http://a.example/"
