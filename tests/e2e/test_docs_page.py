"""The page at /docs in a real browser: what a person sees there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from shared.settings import Settings
from testing.servers import front_end
from tests.e2e.browsing import hosts_of_requests

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/maskq/docs"])
def test_the_docs_show_all_operations_without_internet(page: Page, settings: Settings, path: str) -> None:
    hosts = hosts_of_requests(page)
    prefix = path.removesuffix("/docs").removesuffix("/redoc")
    with front_end(settings.replace(public_url=f"https://a.example{prefix}" if prefix else "")) as url:
        document = page.request.get(f"{url}/openapi.json").json()
        page.goto(url + path)
        expect(page.locator(".opblock")).to_have_count(sum(len(each) for each in document["paths"].values()))
        expect(page.locator("h1, h2").first).to_contain_text("maskq")
        page.locator(".opblock-post", has_text="/segment/").locator(".opblock-summary-control").click()
        expect(page.get_by_text("image_file").first).to_be_visible()
    assert hosts == {"127.0.0.1"}
