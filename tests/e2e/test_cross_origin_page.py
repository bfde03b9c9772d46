"""A page of another origin uses the service in a real browser."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore
from testing.servers import front_end, website
from tests.jobs import finish_next

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_SUBMIT = """async ([url, headers]) => {
    const canvas = new OffscreenCanvas(64, 48);
    canvas.getContext("2d").fillRect(0, 0, 32, 24);
    const form = new FormData();
    form.set("prompt", "cat");
    form.set("image_file", await canvas.convertToBlob(), "a.png");
    try {
        const answer = await fetch(url + "/segment/", {method: "POST", body: form, headers});
        const names = ["location", "x-request-id", "ratelimit", "retry-after"];
        return {status: answer.status, body: await answer.json(), read: names.filter(name => answer.headers.has(name))};
    } catch (error) {
        return {status: 0, body: String(error), read: []};
    }
}"""

_LINKS = """async ([url, id, headers]) => {
    const answer = await fetch(`${url}/jobs/${id}/links`, {method: "POST", body: "{}", headers});
    window.links = await answer.json();
    return window.links;
}"""

_SHOW = """address => new Promise(done => {
    const image = new Image();
    image.onload = () => done([image.naturalWidth, image.naturalHeight]);
    image.onerror = () => done("not shown");
    image.src = address;
})"""

_FOLLOW = """address => {
    window.seen = [];
    const source = new EventSource(address);
    source.onmessage = event => window.seen.push(JSON.parse(event.data).status);
    source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) window.seen.push("closed");
    };
}"""


class _Empty(BaseHTTPRequestHandler):
    """A website with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab with a page of a website of its own."""
    with website(_Empty) as site, browser.new_context() as context:
        page = context.new_page()
        page.goto(site.replace("127.0.0.1", "localhost"))
        yield page


@pytest.fixture
def leases(settings: Settings) -> Iterator[LeaseStore]:
    """What a worker would use."""
    with closing(LeaseStore.connect(settings)) as store:
        yield store


def _origin(page: Page) -> str:
    origin: str = page.evaluate("location.origin")
    return origin


def _make_key(settings: Settings) -> str:
    async def make() -> str:
        store = ApiKeyStore.connect(settings.redis)
        try:
            return (await store.create("a page", [Scope.SUBMIT, Scope.READ], per_minute=1, burst=1))[1]
        finally:
            await store.close()

    with ThreadPoolExecutor(1) as thread:  # this one runs the loop of the browser
        return thread.submit(asyncio.run, make()).result()


def test_a_page_of_an_allowed_origin_submits_with_a_key(page: Page, settings: Settings) -> None:
    with front_end(settings.replace(require_keys=True, cors_origins=_origin(page))) as url:
        headers = {"Authorization": f"Bearer {_make_key(settings)}", "Idempotency-Key": "once", "Prefer": "wait=0"}
        accepted = page.evaluate(_SUBMIT, [url, headers])
        assert (accepted["status"], accepted["read"][:3]) == (202, ["location", "x-request-id", "ratelimit"])
        late = page.evaluate(_SUBMIT, [url, headers])
        assert (late["status"], late["body"]["type"]) == (429, "rate_limited")
        assert "retry-after" in late["read"]
        refused = page.evaluate(_SUBMIT, [url, {}])
        assert (refused["status"], refused["body"]["type"]) == (401, "key_required")


def test_a_page_of_an_allowed_origin_submits_without_keys(page: Page, settings: Settings) -> None:
    with front_end(settings.replace(cors_origins=_origin(page))) as url:
        accepted = page.evaluate(_SUBMIT, [url, {}])
    assert accepted["status"] == 202, json.dumps(accepted)


@pytest.mark.parametrize("has_keys", [True, False])
def test_a_page_of_another_origin_can_do_nothing(page: Page, settings: Settings, has_keys: bool) -> None:
    changes = {"require_keys": has_keys, "cors_origins": "https://app.example"}
    with front_end(settings.replace(**changes)) as url:
        assert page.evaluate(_SUBMIT, [url, {}])["status"] == 0
        listed = page.evaluate("url => fetch(url + '/jobs').then(() => 'read', () => 'not read')", url)
        assert listed == "not read"


def _seen(page: Page, last: str) -> list[str]:
    """What the page has received, when the last of it is this."""
    page.wait_for_function("last => window.seen.at(-1) === last", arg=last)
    seen: list[str] = page.evaluate("window.seen")
    return seen


def test_a_page_of_another_origin_shows_pictures_and_follows_events_with_signed_urls(
    page: Page, settings: Settings, leases: LeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front_end(settings.replace(require_keys=True, cors_origins=_origin(page))) as url:
        headers = {"Authorization": f"Bearer {_make_key(settings)}"}
        job = page.evaluate(_SUBMIT, [url, headers])["body"]
        links = page.evaluate(_LINKS, [url, job["id"], headers])
        page.evaluate(_FOLLOW, links["events"])
        assert _seen(page, "queued") == ["queued"]
        finish_next(leases)
        assert "succeeded" in _seen(page, "closed")  # it reconnects by itself, and is told that there is no more
        assert page.evaluate(_SHOW, links["overlay"]) == [64, 48]
        assert page.evaluate(_SHOW, page.evaluate(_LINKS, [url, job["id"], headers])["masks"][0]) == [64, 48]
        for address in (job["urls"]["overlay"], links["overlay"].replace("overlay", "picture")):
            assert page.evaluate(_SHOW, address) == "not shown"
        after = time.time() + 301
        monkeypatch.setattr("api.auth.link.time", SimpleNamespace(time=lambda: after))
        page.evaluate(_FOLLOW, links["events"])
        assert _seen(page, "closed") == ["closed"]
        assert page.evaluate(_SHOW, f"{links['picture']}") == "not shown"


def test_without_keys_only_signed_urls_are_shown_elsewhere(page: Page, settings: Settings, leases: LeaseStore) -> None:
    with front_end(settings.replace(cors_origins=_origin(page))) as url:
        job = page.evaluate(_SUBMIT, [url, {}])["body"]
        finish_next(leases)
        links = page.evaluate(_LINKS, [url, job["id"], {}])
        assert page.evaluate(_SHOW, links["overlay"]) == [64, 48]
        assert page.evaluate(_SHOW, job["urls"]["overlay"]) == "not shown"
