"""Fetching images: redirects, limits, errors, and addresses that are refused."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from api.http.request_memory import RequestMemory
from api.shares import Shares
from api.submission.fetch_image import ImageFetcher
from shared.errors import MaskqError, PayloadTooLarge, ServerBusy, UrlRefused
from shared.settings import Settings
from testing import servers

_IMAGE = b"\x89PNG pretend"


class _Website(BaseHTTPRequestHandler):
    hits: list[str]

    def do_GET(self) -> None:
        type(self).hits.append(self.path)
        status, location, body = 200, None, _IMAGE
        if self.path.startswith("/redirect/"):
            left = int(self.path.rpartition("/")[2])
            status, location = 302, f"/redirect/{left - 1}" if left > 1 else "/image"
        elif self.path == "/elsewhere":
            status, location = 302, "file:///etc/passwd"
        elif self.path == "/missing":
            status = 404
        elif self.path == "/large":
            body = b"x" * 5_000
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if self.path.startswith("/declared"):
            self.send_header("Content-Length", "999999" if self.path.endswith("large") else str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            threading.Event().wait(2)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def website() -> Iterator[str]:
    _Website.hits = []
    with servers.website(_Website) as url:
        yield url


def _fetch(url: str, room: Shares | None = None, **changes: object) -> bytes:
    values = {"url_allow_http": True, "url_allow_private": True, "url_timeout_s": 1.0, **changes}

    async def fetch() -> bytes:
        settings = Settings.of(max_image_bytes=1_000, **values)
        async with ImageFetcher(settings.outbound, settings.submissions) as fetcher:
            return await fetcher.fetch(url, RequestMemory(room or Shares(10_000, "images")))

    return asyncio.run(fetch())


@pytest.mark.parametrize("path", ["/image", "/redirect/1", "/redirect/3"])
def test_an_image_is_fetched_through_a_few_redirects(website: str, path: str) -> None:
    assert _fetch(website + path) == _IMAGE


@pytest.mark.parametrize(
    ("path", "error", "detail"),
    [
        ("/redirect/4", UrlRefused, "more than 3 redirects"),
        ("/elsewhere", UrlRefused, "must begin with"),
        ("/missing", UrlRefused, "answered 404"),
        ("/large", PayloadTooLarge, "larger than 1,000 bytes"),
        ("/slow", UrlRefused, "no image within 1 s"),
    ],
)
def test_a_failed_fetch_names_the_reason(website: str, path: str, error: type[MaskqError], detail: str) -> None:
    with pytest.raises(error, match=detail):
        _fetch(website + path)


def test_a_closed_port_is_a_clear_error() -> None:
    with pytest.raises(UrlRefused, match="connection failed"):
        _fetch("http://127.0.0.1:9/")


@pytest.mark.parametrize("path", ["/image", "/declared"])
def test_an_image_is_counted_before_it_is_in_memory(website: str, path: str) -> None:
    room = Shares(1_000, "images")
    assert _fetch(website + path, room) == _IMAGE
    assert room.in_use == 2 * len(_IMAGE)
    with pytest.raises(ServerBusy):
        _fetch(website + path, Shares(len(_IMAGE), "images"))


def test_an_image_that_is_declared_too_large_is_not_read(website: str) -> None:
    room = Shares(1_000_000, "images")
    with pytest.raises(PayloadTooLarge):
        _fetch(f"{website}/declared-large", room)
    assert room.in_use == 0


def test_a_private_address_receives_no_request(website: str) -> None:
    port = website.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0", "[::ffff:127.0.0.1]", "[::1]"):
        with pytest.raises(UrlRefused):
            _fetch(f"http://{host}:{port}/image", url_allow_private=False)
    assert _Website.hits == []


def test_a_private_address_is_refused_when_connecting(monkeypatch: pytest.MonkeyPatch, website: str) -> None:
    monkeypatch.setattr("shared.outbound._PORTS", {int(website.rpartition(":")[2])})
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        with pytest.raises(UrlRefused, match="not on the public Internet"):
            _fetch(f"http://{host}:{website.rpartition(':')[2]}/image", url_allow_private=False)
    assert _Website.hits == []
