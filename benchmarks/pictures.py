"""Draws the pictures of docs/images from a running demo: the page, and the command line.

    python -m benchmarks.pictures [--folder docs/images]

Needs Chromium. `python -m benchmarks.dashboard` draws the dashboard.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from testing.browser import chromium
from testing.demo import fresh_demo
from testing.terminal import output_on_terminal, picture_of_terminal

_ROOT = Path(__file__).parent.parent
_SAMPLE = _ROOT / "models" / "demo" / "sample.jpg"
_COMMANDS = [
    ["segment", "sample.jpg", "star ; red circle", "-o", "overlay.png"],
    ["batch", "photos", "star", "-o", "results", "--coco"],
    ["jobs", "--limit", "3"],
]


def _ask(page: Page, url: str) -> None:
    """Ask for objects of the sample image, and point at one of them."""
    page.goto(url)
    page.get_by_label("Images", exact=True).set_input_files(_SAMPLE)
    page.get_by_label("What to cut out").fill("star ; red circle")
    page.locator("#ask").get_by_role("button", name="Cut out").click()
    page.locator(".objects li").nth(1).hover()
    page.evaluate("document.getElementById('results').scrollIntoView()")
    page.wait_for_timeout(500)  # so that all is drawn


def draw_page(browser: Browser, url: str, path: Path, width: int, height: int, scheme: str) -> None:
    """A picture of a result on the page. `scheme`: light or dark."""
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        _ask(page, url)
        page.screenshot(path=path)


def draw_command_line(url: str, path: Path) -> None:
    """A picture of commands with their real output."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_images(folder)
        variables = {"MASKQ_URL": url, "PYTHONPATH": str(_ROOT / "client" / "src")}
        shown = []
        for arguments in _COMMANDS:
            typed = " ".join(f'"{each}"' if " " in each else each for each in arguments)
            output = output_on_terminal([sys.executable, "-m", "maskq", *arguments], folder, **variables)
            shown.append(f"\x1b[1;32m$\x1b[0m \x1b[1mmaskq {typed}\x1b[0m\n{output}\n")
    path.write_text(picture_of_terminal("\n".join(shown), "maskq"), "utf-8")


def _make_images(folder: Path) -> None:
    (folder / "photos").mkdir()
    with Image.open(_SAMPLE) as image:
        image.save(folder / "sample.jpg")
        for number in range(12):
            image.rotate(3 * number).save(folder / "photos" / f"{number:02}.jpg")


def main() -> int:
    """Draw all. Returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=_ROOT / "docs" / "images")
    folder = parser.parse_args().folder
    with fresh_demo() as url:
        with chromium() as browser:
            draw_page(browser, url, folder / "page.png", 1200, 680, "light")
            draw_page(browser, url, folder / "page-phone.png", 390, 844, "dark")
        draw_command_line(url, folder / "cli.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
