"""The pages at / and /docs in a real browser: what a person sees there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from local.broker import free_port
from shared.settings import Settings
from testing.reverse_proxy import nginx
from testing.servers import front_end, require_program

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
"""Chromium has no sandbox for root in a container. The other options keep it from requests to its maker's hosts."""
_PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Skips the test if it is not installed."""
    program = require_program("chromium")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program, args=_QUIET) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab. An error in a script of the page fails the test."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(error.message))
        yield page
    assert errors == []


def _segment(page: Page, image: Path, prompt: str) -> None:
    page.get_by_label("Image").set_input_files(image)
    page.get_by_label("What to cut out").fill(prompt)
    page.get_by_role("button", name="Segment").click()


def test_the_page_shows_the_objects_that_were_cut_out(page: Page, service_url: str, root: Path) -> None:
    page.goto(service_url)
    expect(page.locator("#model")).to_have_text("demo")
    _segment(page, root / "models" / "demo" / "sample.jpg", "red circle")
    expect(page.get_by_role("status")).to_have_text("succeeded: 1 found", timeout=_PATIENCE_MS)
    expect(page.locator("#answer")).to_contain_text('"label": "red circle"')
    overlay = page.get_by_alt_text("The image with 1 found")
    expect(overlay).to_be_visible()
    assert overlay.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [640, 480]


def test_the_page_shows_what_is_wrong_and_accepts_another_image(page: Page, service_url: str, root: Path) -> None:
    page.goto(service_url)
    _segment(page, root / "README.md", "red circle")
    expect(page.get_by_role("status")).to_contain_text("image format is not supported")
    expect(page.locator("#overlay")).to_be_hidden()
    _segment(page, root / "models" / "demo" / "sample.jpg", "red circle")
    expect(page.get_by_role("status")).to_have_text("succeeded: 1 found", timeout=_PATIENCE_MS)


def test_the_page_asks_for_a_key_once_one_is_needed(page: Page, settings: Settings, root: Path) -> None:
    sample = root / "models" / "demo" / "sample.jpg"
    with front_end(settings.replace(require_keys=True)) as url:
        page.goto(url)
        key = page.get_by_label("API key")
        expect(key).to_be_hidden()
        _segment(page, sample, "red circle")
        expect(key).to_be_visible()
        key.fill(_make_key(settings))
        _segment(page, sample, "red circle")
        expect(page.get_by_role("status")).to_have_text("queued …")


def _hosts_of_requests(page: Page) -> set[str]:
    """A set to which the host of every request of this tab will be added. Requests to other machines fail."""
    hosts: set[str] = set()

    def only_here(route: Route) -> None:
        host = urlsplit(route.request.url).hostname or ""
        hosts.add(host)
        route.continue_() if host == "127.0.0.1" else route.abort()

    page.route(re.compile("^https?:"), only_here)
    return hosts


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/maskq/docs"])
def test_the_docs_show_all_operations_without_internet(page: Page, settings: Settings, path: str) -> None:
    hosts = _hosts_of_requests(page)
    prefix = path.removesuffix("/docs").removesuffix("/redoc")
    with front_end(settings.replace(public_url=f"https://a.example{prefix}" if prefix else "")) as url:
        document = page.request.get(f"{url}/openapi.json").json()
        page.goto(url + path)
        expect(page.locator(".opblock")).to_have_count(sum(len(each) for each in document["paths"].values()))
        expect(page.locator("h1, h2").first).to_contain_text("maskq")
        page.locator(".opblock-post", has_text="/segment/").locator(".opblock-summary-control").click()
        expect(page.get_by_text("image_file").first).to_be_visible()
    assert hosts == {"127.0.0.1"}


def test_the_page_works_behind_tls_and_a_path(browser: Browser, settings: Settings, root: Path, tmp_path: Path) -> None:
    port = free_port()
    public = f"https://127.0.0.1:{port}/maskq"
    with (
        front_end(settings.replace(public_url=public)) as upstream,
        nginx(tmp_path, port, upstream, "/maskq/"),
        browser.new_context(ignore_https_errors=True) as context,
    ):
        page = context.new_page()
        hosts = _hosts_of_requests(page)
        page.goto(public)
        expect(page.locator("#model")).to_have_text("demo")
        _segment(page, root / "models" / "demo" / "sample.jpg", "red circle")
        expect(page.get_by_role("status")).to_have_text("queued …")
        page.get_by_role("link", name="API").click()
        expect(page.locator(".opblock").first).to_be_visible()
        assert page.url == f"{public}/docs"
        models = page.locator(".opblock-get", has_text="/models")
        models.locator(".opblock-summary-control").click()
        models.get_by_role("button", name="Try it out").click()
        models.get_by_role("button", name="Execute").click()
        expect(models.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        assert hosts == {"127.0.0.1"}


def _make_key(settings: Settings) -> str:
    """Create a key with the command that a person would use."""
    command = [sys.executable, "-m", "local.keys", "create", "a person"]
    environment = {**os.environ, "REDIS_URL": settings.redis.redis_url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
