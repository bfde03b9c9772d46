"""Chromium, as tests and benchmarks use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
"""Chromium has no sandbox for root in a container. The next options keep it from requests to its maker. The last
give it a camera, which it may use."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. While it is open, this thread has a running event loop: that of Playwright."""
    program = shutil.which("chromium")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program, args=_OPTIONS) as browser:
        yield browser
