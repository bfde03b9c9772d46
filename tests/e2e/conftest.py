"""The whole service as `scripts/up` runs it: broker, front end, webhooks and a worker with the demo checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from local.broker import free_port
from local.up import local_service
from testing.browser import chromium
from testing.required import require_program
from tests.e2e.browsing import PATIENCE_MS


@pytest.fixture(scope="session")
def service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the running service."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="session")
def service_url(service_folder: Path) -> Iterator[str]:
    """The address of a running service."""
    with (
        pytest.MonkeyPatch.context() as environment,
        (service_folder / "log").open("wb") as log,
    ):
        environment.delenv("REDIS_URL", raising=False)
        with local_service("127.0.0.1", free_port(), [None], service_folder, log) as service:
            service.wait_until_ready()
            yield service.url


@pytest.fixture
def client(service_url: str) -> Iterator[httpx2.Client]:
    """A client of the running service."""
    with httpx2.Client(base_url=service_url, timeout=90) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Skips the test if it is not installed. Tests in other modules can run event loops: this one ends."""
    require_program("chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab. An error in a script of the page, and what its policy refuses, fails the test."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(error.message))
        page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
        yield page
    assert errors == []
