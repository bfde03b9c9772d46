"""Fetching images: redirects, limits, errors, and addresses that are refused."""

import asyncio
import gzip
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

import pytest

from api.http.request_memory import RequestMemory
from api.shares import Shares
from api.submission.fetch_image import ImageFetcher
from shared import VERSION
from shared.errors import MaskqError, PayloadTooLarge, ServerBusy, UrlRefused
from shared.settings import Settings
from testing import servers

_IMAGE = b"\x89PNG pretend"


_RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
_COMPRESSED = {
    "gzip": gzip.compress(_IMAGE),
    "x-gzip": gzip.compress(_IMAGE),
    "deflate": zlib.compress(_IMAGE),
    "Deflate": _RAW_DEFLATE.compress(_IMAGE) + _RAW_DEFLATE.flush(),
    "identity": _IMAGE,
}
_DAMAGED = {
    "bomb": ("gzip", gzip.compress(bytes(50_000_000))),
    "cut": ("gzip", gzip.compress(_IMAGE)[:-9]),
    "noise": ("gzip", b"noise"),
    "raw noise": ("deflate", b"\xff" * 99),
    "brotli": ("br", _IMAGE),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(_IMAGE))),
}
_LOCATIONS = {
    "spaces": b"/an image.png",
    "utf-8": "/b\u00e4r.png".encode(),
    "latin-1": "/b\u00e4r.png".encode("latin-1"),
}


_ENDLESS = {
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
}


class _Website(BaseHTTPRequestHandler):
    hits: list[str]
    headers_received: dict[str, str]

    def do_GET(self) -> None:
        type(self).hits.append(self.path)
        type(self).headers_received = {name.lower(): value for name, value in self.headers.items()}
        status, location, body = 200, None, _IMAGE
        _, kind, name = [*self.path.split("/", 2), "", ""][:3]
        name = unquote(name)
        if kind in ("compressed", "damaged"):
            self._send_compressed(*((name, _COMPRESSED[name]) if kind == "compressed" else _DAMAGED[name]))
            return
        if kind == "endless":
            self._send_for_ever(*_ENDLESS[name])
            return
        if kind == "unescaped":
            status, location = 302, _LOCATIONS[name].decode("latin-1")
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

    def _send_compressed(self, coding: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", coding)
        self.end_headers()
        self.wfile.write(body)

    def _send_for_ever(self, head: bytes, piece: bytes) -> None:
        with suppress(OSError):
            self.wfile.write(head)
            while True:
                self.wfile.write(piece * 1_000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def website() -> Iterator[str]:
    _Website.hits = []
    with servers.website(_Website) as url:
        yield url


def _fetch(url: str, room: Shares | None = None, **changes: object) -> bytes:
    defaults = {"url_allow_http": True, "url_allow_private": True, "url_timeout_s": 1.0, "max_image_bytes": 1_000}
    values = {**defaults, **changes}

    async def fetch() -> bytes:
        settings = Settings.of(**values)
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


@pytest.mark.parametrize(
    ("name", "detail"), [("interim", "failed"), ("headers", "failed"), ("chunks", "too many pieces")]
)
def test_an_answer_that_is_dear_to_read_is_not_read(website: str, name: str, detail: str) -> None:
    with pytest.raises(UrlRefused, match=detail):  # not "no image within 20 s"
        _fetch(f"{website}/endless/{name}", url_timeout_s=20.0, max_image_bytes=20_000_000)


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


@pytest.mark.parametrize("coding", _COMPRESSED)
def test_a_body_that_nobody_asked_to_compress_is_decoded(website: str, coding: str) -> None:
    assert _fetch(f"{website}/compressed/{coding}") == _IMAGE
    assert _Website.headers_received["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("name", "error", "detail"),
    [
        ("bomb", PayloadTooLarge, "larger than 1,000 bytes"),
        ("cut", UrlRefused, "ends too early"),
        ("noise", UrlRefused, "damaged"),
        ("raw noise", UrlRefused, "damaged"),
        ("brotli", UrlRefused, "Content-Encoding 'br'"),
        ("twice", UrlRefused, "Content-Encoding 'gzip, gzip'"),
    ],
)
def test_a_body_that_cannot_be_decoded_is_refused(
    website: str, name: str, error: type[MaskqError], detail: str
) -> None:
    with pytest.raises(error, match=detail):
        _fetch(f"{website}/damaged/{name.replace(' ', '%20')}")


@pytest.mark.parametrize(
    ("name", "path"), [("spaces", "/an%20image.png"), ("utf-8", "/b%C3%A4r.png"), ("latin-1", "/b%C3%A4r.png")]
)
def test_a_redirect_need_not_be_escaped(website: str, name: str, path: str) -> None:
    assert _fetch(f"{website}/unescaped/{name}") == _IMAGE
    assert _Website.hits[-1] == path


def test_the_service_names_itself_with_its_version_or_as_its_operator_says(website: str) -> None:
    _fetch(f"{website}/image")
    assert _Website.headers_received["user-agent"] == f"maskq/{VERSION}"
    _fetch(f"{website}/image", user_agent="cats/1.0 (https://example.com; admin@example.com)")
    assert _Website.headers_received["user-agent"] == "cats/1.0 (https://example.com; admin@example.com)"


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://example.com/a.png", "must begin with https://, not http:"),
        ("ftp://example.com/a.png", "ftp: is not supported; it must begin with https://"),
        ("/home/ann/a.png", "path on your machine"),
        ("s3://bucket/a.png", "signed https URL"),
        ("https://example.com/" + "x" * 8_200, "at most 8192 characters"),
    ],
)
def test_what_cannot_be_fetched_is_refused_by_its_own_name(url: str, detail: str) -> None:
    with pytest.raises(UrlRefused, match=detail):
        _fetch(url, url_allow_http=False)


def test_a_signed_url_may_be_long(website: str) -> None:
    assert _fetch(f"{website}/image?X-Amz-Security-Token={'x' * 6_000}") == _IMAGE
