"""Steps that tests of the pages share."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Route, expect

PATIENCE_MS = 60_000


def hosts_of_requests(page: Page) -> set[str]:
    """A set to which the host of every request of this tab will be added. Requests to other machines fail."""
    hosts: set[str] = set()

    def only_here(route: Route) -> None:
        host = urlsplit(route.request.url).hostname or ""
        hosts.add(host)
        route.continue_() if host == "127.0.0.1" else route.abort()

    page.route(re.compile("^https?:"), only_here)
    return hosts


def choose(page: Page, *files: Path) -> None:
    """Choose files with the picker, and wait until the page shows them."""
    page.get_by_label("Images", exact=True).set_input_files(list(files))
    expect(page.locator("#tray")).to_contain_text(files[-1].name)


def cut_out(page: Page, prompt: str) -> None:
    """Ask for a phrase in the chosen images."""
    page.get_by_label("What to cut out").fill(prompt)
    page.locator("#ask").get_by_role("button", name="Cut out").click()


def newest(page: Page) -> Locator:
    """The newest card."""
    return page.locator(".card").first


def expect_status(card: Locator, words: str) -> None:
    """Wait until the card says this."""
    expect(card.locator(".status")).to_have_text(words, timeout=PATIENCE_MS)
