"""Measures how long a person who opens the page of a fresh demo waits for the first mask, in seconds and in clicks.

    python -m benchmarks.first_mask [--runs 5]

Needs Chromium. Each run opens the page in a browser that was never there. The first mask is there when its outline is
drawn. The person clicks at once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

from playwright.sync_api import Browser

from testing.browser import chromium
from testing.demo import fresh_demo

_DRAWN = """() => {
  const canvas = document.querySelector(".stage canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return document.querySelector(".objects li") && data.some(Boolean);
}"""


def first_mask_s(browser: Browser, url: str) -> tuple[float, float]:
    """Seconds from opening the page until it can be used, and until it shows the first mask."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        begin = time.monotonic()
        page.goto(url)
        sample = page.get_by_role("button", name="Cut out “star”")
        sample.wait_for()
        usable_s = time.monotonic() - begin
        sample.click()
        page.locator(".card[data-state=succeeded]").wait_for()
        page.wait_for_function(_DRAWN, timeout=60_000)
        return usable_s, time.monotonic() - begin


def main() -> int:
    """Measure and print. Returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with fresh_demo() as url, chromium() as browser:
        runs = [first_mask_s(browser, url) for _ in range(options.runs)]
    usable, drawn = zip(*runs, strict=True)
    first = {"first_mask_of_the_service_s": round(drawn[0], 2)}
    rest = {"usable_s": round(statistics.median(usable), 2), "first_mask_s": round(statistics.median(drawn), 2)}
    print(json.dumps({**first, **rest, "slowest_s": round(max(drawn), 2), "clicks": 1}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
