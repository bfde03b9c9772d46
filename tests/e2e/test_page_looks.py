"""The page at / for all who look at it: any width, light and dark, with assistive technology, without a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import PATIENCE_MS, choose, cut_out, expect_status, newest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_WIDTHS = (1280, 768, 320)
_SHIFT = """new Promise(resolve => new PerformanceObserver(list => resolve(
  list.getEntries().reduce((sum, entry) => sum + (entry.hadRecentInput ? 0 : entry.value), 0)
)).observe({ type: "layout-shift", buffered: true }) || setTimeout(() => resolve(0), 500))"""
"""The cumulative layout shift: 0 if nothing jumped; up to 0.1 counts as good."""


@pytest.fixture(params=[(width, scheme) for width in _WIDTHS for scheme in ("light", "dark")], ids=str)
def view(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, scheme = request.param
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page


def _assert_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def _assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_fits_and_is_accessible_at_every_width(view: Page, service_url: str, root: Path) -> None:
    view.goto(service_url)
    expect(view.locator("#samples li")).to_have_count(3)
    _assert_accessible(view)
    _assert_fits(view)
    assert view.evaluate(_SHIFT) < 0.02
    view.get_by_role("button", name="Cut out “circle”").click()
    choose(view, root / "models" / "demo" / "sample.jpg", root / "README.md")
    cut_out(view, "star ; a phrase that is so long that it needs more than one line on a narrow telephone")
    expect(view.locator(".card[data-state=succeeded]")).to_have_count(2, timeout=PATIENCE_MS)
    expect(view.locator(".card[data-state=failed]")).to_have_count(1)
    view.get_by_role("listitem").filter(has_text="circle").last.hover()
    _assert_accessible(view)
    _assert_fits(view)


def test_the_key_form_is_accessible(view: Page, service_url: str) -> None:
    view.goto(service_url)
    expect(view.locator("#samples li")).to_have_count(3)
    view.evaluate("document.getElementById('key-form').hidden = false")
    _assert_accessible(view)
    _assert_fits(view)


def test_the_page_is_used_with_keys_alone(page: Page, service_url: str) -> None:
    page.goto(service_url)
    expect(page.locator("#samples li")).to_have_count(3)
    for _ in range(3):  # the links of the header, then the first sample
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_status(newest(page), "1 object found")
    newest(page).get_by_label("Show star 1").focus()
    expect(newest(page).locator("li.is-highlighted")).to_have_count(1)
    page.keyboard.press("Space")
    expect(newest(page).get_by_label("Show star 1")).not_to_be_checked()


def test_two_fingers_zoom(browser: Browser, service_url: str) -> None:
    with browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(service_url)
        page.get_by_role("button", name="Cut out “star”").tap()
        expect_status(newest(page), "1 object found")
        canvas = newest(page).locator(".stage canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        _pinch(page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(canvas).to_have_class("is-zoomed")
        assert page.evaluate("visualViewport.scale") == 1


def _pinch(page: Page, x: float, y: float) -> None:
    session = page.context.new_cdp_session(page)
    for kind, gap in (("touchStart", 20), ("touchMove", 40), ("touchMove", 80)):
        points = [{"x": x - gap, "y": y, "id": 0}, {"x": x + gap, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_nothing_moves_for_those_who_asked_for_that(browser: Browser, service_url: str) -> None:
    with browser.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(service_url)
        canvas = page.locator(".samples canvas").first
        assert canvas.evaluate("element => getComputedStyle(element).transitionProperty") == "none"
