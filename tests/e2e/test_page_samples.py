"""The samples of the page for the emoji model, which are files."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import Page, expect

from shared.settings import Settings
from testing.servers import front_end
from tests.e2e.browsing import newest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_click_on_a_sample_that_is_a_file_sends_that_file(page: Page, settings: Settings) -> None:
    with front_end(settings.replace(model_id="emoji")) as url:
        page.goto(url)
        expect(page.locator("#about")).to_contain_text("128 things, as emoji only")
        expect(page.locator("#names-list")).to_be_hidden()
        page.get_by_text("All names").click()
        expect(page.locator("#names-list")).to_contain_text("parrot, peach, pear")
        expect(page.get_by_label("What to cut out")).to_have_attribute("placeholder", "cat")
        samples = page.locator("#samples img")
        expect(samples).to_have_count(3)
        page.wait_for_function("[...document.querySelectorAll('#samples img')].every(each => each.naturalWidth)")
        page.get_by_role("button", name="Cut out “pizza”").click()
        expect(newest(page)).to_have_attribute("data-state", "queued")
        (job,) = httpx2.get(f"{url}/jobs").json()["jobs"]
        assert (job["prompt"], job["file_name"]) == ("segment pizza", "emoji-tigers.jpg")
        expect(newest(page).locator("h3")).to_have_text("pizza")
