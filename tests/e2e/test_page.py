"""The page at / in a real browser: what a person does there."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from local.broker import free_port
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.pictures import encoded, gradient
from testing.reverse_proxy import nginx
from testing.servers import front_end
from tests.e2e.browsing import PATIENCE_MS, choose, cut_out, expect_status, hosts_of_requests, newest
from tests.jobs import finish_next

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_DROP = """([name, base64]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], name, { type: "image/jpeg" }));
  return transfer;
}"""
_INK = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, index) => index % 4 === 3 && value).length;
}"""
"""Number of pixels of a canvas that something was drawn on."""


@pytest.fixture
def sample(root: Path) -> Path:
    return root / "models" / "demo" / "sample.jpg"


def _jobs(url: str) -> list[dict[str, object]]:
    jobs: list[dict[str, object]] = httpx2.get(f"{url}/jobs", params={"limit": 100}).json()["jobs"]
    return jobs


# --- From the first visit to the files ---------------------------------------------------------------------------


def test_one_click_shows_the_first_mask(page: Page, service_url: str) -> None:
    page.goto(service_url)
    page.evaluate("window.clicks = 0; addEventListener('click', () => clicks++, true)")
    expect(page.locator("#model")).to_have_text("demo")
    expect(page.locator("#about")).to_contain_text("It does not know photographs")
    page.get_by_role("button", name="Cut out “star”").click()
    expect_status(newest(page), "1 object found")
    expect(newest(page).get_by_role("list", name="Objects found").get_by_role("listitem")).to_contain_text(["star"])
    expect(page.locator("#live")).to_have_text("star: 1 object found")
    _wait_for_ink(page)
    assert page.evaluate("clicks") == 1


def test_every_phrase_of_the_samples_finds_what_it_names(page: Page, service_url: str) -> None:
    page.goto(service_url)
    expect(page.locator("#samples li")).to_have_count(3)
    phrases = page.locator("#samples .chips button")
    for phrase in phrases.all():
        phrase.click()
    expect(page.locator(".card[data-state=succeeded]")).to_have_count(phrases.count(), timeout=PATIENCE_MS)
    counts = {
        card.locator("h3").inner_text(): card.locator(".status").inner_text() for card in page.locator(".card").all()
    }
    expected = {
        **dict.fromkeys(["star", "red heart", "blue circle", "ring", "orange square", "triangle"], "1 object found"),
        "circle": "2 objects found",
    }
    assert counts == expected


def test_masks_are_drawn_hidden_and_recolored(page: Page, service_url: str, sample: Path) -> None:
    page.goto(service_url)
    choose(page, sample)
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    card, canvas = newest(page), newest(page).locator(".stage canvas")
    with_mask = _settled(canvas.screenshot)
    card.get_by_label("Show red circle 1").uncheck()
    without = _settled(canvas.screenshot)
    assert without != with_mask
    card.get_by_label("Show red circle 1").check()
    card.get_by_label("Colour of red circle 1").fill("#00ff00")
    assert _settled(canvas.screenshot) not in (with_mask, without)
    card.get_by_label("Lowest score").fill("1")
    expect(card.get_by_role("listitem")).to_be_hidden()
    page.reload()
    expect(newest(page).get_by_label("Colour of red circle 1")).to_have_value("#00ff00")


def _settled(shoot: Callable[[], bytes]) -> bytes:
    """A screenshot that the next one equals."""
    before = shoot()
    while (now := shoot()) != before:
        before = now
    return now


def test_the_picture_is_zoomed_moved_and_compared_with_keys(page: Page, service_url: str, sample: Path) -> None:
    page.goto(service_url)
    choose(page, sample)
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    canvas = newest(page).locator(".stage canvas")
    canvas.press("0")  # a key makes the browser show where the focus is
    views = [_settled(canvas.screenshot)]
    for key in ("+", "ArrowRight", "ArrowDown", "c"):
        canvas.press(key)
        views.append(_settled(canvas.screenshot))
    assert len(set(views)) == 5
    expect(newest(page).get_by_role("button", name="Compare")).to_have_attribute("aria-pressed", "true")
    canvas.press("c")
    canvas.press("0")
    assert _settled(canvas.screenshot) == views[0]


def test_the_original_is_uncovered_with_a_slider(page: Page, service_url: str) -> None:
    page.goto(service_url)
    page.get_by_role("button", name="Cut out “circle”").click()
    expect_status(newest(page), "2 objects found")
    card, canvas = newest(page), newest(page).locator(".stage canvas")
    slider, button = card.get_by_role("slider", name="Original up to"), card.get_by_role("button", name="Compare")
    views = [_settled(canvas.screenshot)]
    for key in ("PageUp", "ArrowRight", "End"):
        slider.press(key)
        views.append(_settled(canvas.screenshot))
    assert len(set(views)) == 4
    expect(slider).to_have_value("1")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(slider).to_have_value("0")
    assert _settled(canvas.screenshot) == views[0]


def test_an_object_under_the_mouse_is_highlighted(page: Page, service_url: str) -> None:
    page.goto(service_url)
    page.get_by_role("button", name="Cut out “circle”").click()
    expect_status(newest(page), "2 objects found")
    canvas, rows = newest(page).locator(".stage canvas"), newest(page).get_by_role("listitem")
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] * 170 / 640, "y": box["height"] * 170 / 480})
    expect(newest(page).locator("li.is-highlighted")).to_have_count(1)
    canvas.hover(position={"x": 3, "y": 3})
    expect(newest(page).locator("li.is-highlighted")).to_have_count(0)
    rows.first.hover()
    expect(newest(page).locator("li.is-highlighted")).to_have_count(1)


def _saved(page: Page, button: str) -> bytes:
    with page.expect_download() as download:
        newest(page).get_by_role("button", name=button, exact=True).click()
    return download.value.path().read_bytes()


def test_results_are_saved_in_every_format(page: Page, service_url: str, sample: Path) -> None:
    page.goto(service_url)
    choose(page, sample)
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    job = json.loads(_saved(page, "JSON"))
    mask = np.asarray(Image.open(io.BytesIO(_saved(page, "Mask PNG"))).convert("L"))
    by_service = np.asarray(Image.open(io.BytesIO(httpx2.get(job["urls"]["masks"][0]).content)).convert("L"))
    assert (mask == by_service).all()
    alpha = np.asarray(Image.open(io.BytesIO(_saved(page, "Cut-out PNG"))))[..., 3]
    assert alpha.shape == (480, 640)
    assert ((alpha > 127) == (mask > 127)).mean() > 0.998
    assert Image.open(io.BytesIO(_saved(page, "Overlay PNG"))).size == (640, 480)
    assert json.loads(_saved(page, "COCO"))["annotations"][0]["area"] == job["result"]["objects"][0]["area"]


def test_the_request_is_copied_as_a_command_that_works(
    page: Page, service_url: str, sample: Path, tmp_path: Path
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(service_url)
    name = 'it\'s "a" ; picture.jpg'
    (tmp_path / name).write_bytes(sample.read_bytes())
    choose(page, tmp_path / name)
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    commands = {}
    for language in ("curl", "Python"):
        newest(page).get_by_role("button", name=f"Copy as {language}").click()
        expect(page.locator("#live")).to_have_text("Copied.")
        commands[language] = page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(["bash", "-c", commands["curl"]], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(answer.stdout)["result"]["objects"][0]["label"] == "red circle"
    printed = subprocess.run([sys.executable, "-c", commands["Python"]], cwd=tmp_path, capture_output=True, text=True)
    assert printed.stdout.startswith("red circle 0.9"), printed.stderr


# --- Every way to give an image ----------------------------------------------------------------------------------


def test_images_are_dropped(page: Page, service_url: str, sample: Path) -> None:
    page.goto(service_url)
    content = base64.b64encode(sample.read_bytes()).decode()
    for name in ("one.jpg", "two.jpg"):
        page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(_DROP, [name, content])})
    expect(page.locator("#tray li")).to_have_count(1)  # the same bytes
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")


def test_images_are_pasted(page: Page, service_url: str, sample: Path) -> None:
    page.goto(service_url)
    content = base64.b64encode(sample.read_bytes()).decode()
    transfer = page.evaluate_handle(_DROP, ["pasted.jpg", content])
    page.evaluate("data => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))", transfer)
    expect(page.locator("#tray")).to_contain_text("pasted.jpg")
    page.get_by_label("What to cut out").fill("red circle")
    page.get_by_label("What to cut out").press("Enter")
    expect_status(newest(page), "1 object found")


def test_several_files_make_several_jobs(page: Page, service_url: str, sample: Path, tmp_path: Path) -> None:
    page.goto(service_url)
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, file in enumerate(files):
        Image.open(sample).crop((0, 0, 640 - number, 480)).save(file)
    choose(page, *files)
    cut_out(page, "red circle")
    expect(page.locator(".card[data-state=succeeded]")).to_have_count(8, timeout=PATIENCE_MS)


def test_the_camera_takes_a_picture(page: Page, service_url: str) -> None:
    page.goto(service_url)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("dialog", name="Camera")).to_be_visible()
    page.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    page.get_by_role("button", name="Take the picture").click()
    expect(page.get_by_role("dialog", name="Camera")).to_be_hidden()
    expect(page.locator("#tray")).to_contain_text("camera.jpg")
    cut_out(page, "star")
    expect(newest(page)).to_have_attribute("data-state", "succeeded", timeout=PATIENCE_MS)


def test_an_image_has_an_address(page: Page, service_url: str, sample: Path) -> None:
    """The page may not load other addresses, so it asks the service for the picture. `data:` needs no internet here."""
    page.goto(service_url)
    hosts = hosts_of_requests(page)
    small = io.BytesIO()
    Image.open(sample).save(small, "JPEG", quality=30)
    page.get_by_label("Address of an image").fill(
        f"data:image/jpeg;base64,{base64.b64encode(small.getvalue()).decode()}"
    )
    page.get_by_role("button", name="Add").click()
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    page.wait_for_function("() => document.querySelector('.stage canvas').width > 100")
    _wait_for_ink(page)
    assert Image.open(io.BytesIO(_saved(page, "Cut-out PNG"))).size == (640, 480)
    assert hosts == {"127.0.0.1"}


def _wait_for_ink(page: Page) -> None:
    page.wait_for_function(f"() => ({_INK})(document.querySelector('.stage canvas')) > 1000")


def test_an_address_that_the_service_refuses_is_explained_in_place(page: Page, service_url: str) -> None:
    page.goto(service_url)
    page.get_by_label("Address of an image").fill("not an address")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("with https:// in front")
    page.get_by_label("Address of an image").fill("https://127.0.0.1/secret.png")
    page.get_by_role("button", name="Add").click()
    cut_out(page, "cat")
    expect(newest(page).locator(".status")).to_contain_text("The URL cannot be used")


def test_a_format_that_the_browser_cannot_show_is_shown_nevertheless(
    page: Page, service_url: str, sample: Path, tmp_path: Path
) -> None:
    page.goto(service_url)
    Image.open(sample).save(tmp_path / "scan.tiff")
    choose(page, tmp_path / "scan.tiff")
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    _wait_for_ink(page)


# --- One job for one question ------------------------------------------------------------------------------------


def test_five_quick_clicks_make_one_job(page: Page, settings: Settings, sample: Path) -> None:
    with front_end(settings) as url:
        page.goto(url)
        choose(page, sample)
        page.get_by_label("What to cut out").fill("red circle")
        page.locator("#ask button").click(click_count=5)
        page.evaluate("for (let i = 0; i < 5; i++) document.querySelector('#samples button').click()")
        expect(page.locator(".card[data-state=queued]")).to_have_count(2)
        assert len(_jobs(url)) == 2


def test_a_repeated_upload_makes_no_second_job(page: Page, settings: Settings, sample: Path) -> None:
    """The connection breaks after the service has accepted the job. The page sends it again."""
    with front_end(settings) as url:
        page.goto(url)
        sent: list[str] = []

        def lose_first_answer(route: object) -> None:
            sent.append(route.request.headers["idempotency-key"])  # type: ignore[attr-defined]
            if len(sent) == 1:
                route.fetch()  # type: ignore[attr-defined]
                route.abort()  # type: ignore[attr-defined]
            else:
                route.continue_()  # type: ignore[attr-defined]

        page.route("**/segment/", lose_first_answer)
        choose(page, sample)
        cut_out(page, "red circle")
        expect(newest(page)).to_have_attribute("data-state", "queued")
        assert len(sent) == 2
        assert len(set(sent)) == len(_jobs(url)) == 1


def test_the_next_phrase_takes_one_key(page: Page, service_url: str, sample: Path) -> None:
    page.goto(service_url)
    choose(page, sample)
    cut_out(page, "red circle")
    expect_status(newest(page), "1 object found")
    newest(page).locator(".stage canvas").press("/")
    expect(newest(page).get_by_label("Next phrase for this picture")).to_be_focused()
    page.keyboard.type("star")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(2)
    expect_status(newest(page), "2 objects found")


# --- What survives, and what fails -------------------------------------------------------------------------------


def test_cards_survive_a_reload(page: Page, settings: Settings, sample: Path) -> None:
    leases = LeaseStore.connect(settings)
    with front_end(settings) as url:
        page.goto(url)
        choose(page, sample)
        cut_out(page, "cat")
        expect_status(newest(page), "Queued: next")
        _wait_for_ink(page)
        page.reload()
        expect_status(newest(page), "Queued: next")
        finish_next(leases)
        expect_status(newest(page), "1 object found")
        page.reload()
        expect_status(newest(page), "1 object found")
        _wait_for_ink(page)
        newest(page).get_by_role("button", name="Remove").click()
        expect(page.locator(".card")).to_have_count(0)
        page.reload()
        expect(page.locator("#model")).to_have_text("demo")
        expect(page.locator(".card")).to_have_count(0)
        assert len(_jobs(url)) == 1
    leases.close()


def test_a_job_is_canceled_and_tried_again(page: Page, settings: Settings, sample: Path) -> None:
    with front_end(settings) as url:
        page.goto(url)
        choose(page, sample)
        cut_out(page, "cat")
        cut_out(page, "dog")
        expect_status(newest(page), "Queued: 1 job before it")
        newest(page).get_by_role("button", name="Cancel").click()
        expect_status(newest(page), "Canceled")
        assert [job["status"] for job in _jobs(url)] == ["canceled", "queued"]
        newest(page).get_by_role("button", name="Try again").click()
        expect_status(newest(page), "Queued: 1 job before it")
        assert [job["status"] for job in _jobs(url)] == ["queued", "canceled", "queued"]


def test_a_job_that_is_gone_is_explained(page: Page, settings: Settings, sample: Path) -> None:
    with front_end(settings) as url:
        page.goto(url)
        choose(page, sample)
        cut_out(page, "cat")
        expect_status(newest(page), "Queued: next")
        httpx2.delete(f"{url}/jobs/{_jobs(url)[0]['id']}")
        expect_status(newest(page), "This job was deleted.")


def test_the_page_says_that_no_worker_is_live(page: Page, settings: Settings, sample: Path) -> None:
    with front_end(settings.replace(accept_unserved=False)) as url:
        page.goto(url)
        expect(page.locator("#serving")).to_contain_text("no worker is live")
        choose(page, sample)
        cut_out(page, "cat")
        expect(newest(page).locator(".status")).to_contain_text("No worker is live for this model")


def test_the_page_says_what_is_wrong_with_a_file(page: Page, service_url: str, root: Path) -> None:
    page.goto(service_url)
    choose(page, root / "README.md")
    cut_out(page, "red circle")
    expect(newest(page).locator(".status")).to_contain_text("This image format is not supported")
    expect(newest(page).locator(".stage")).to_be_hidden()
    cut_out(page, "caption en")
    expect(newest(page).locator(".status")).to_contain_text("prompt")


def test_the_page_asks_for_a_key_once_one_is_needed(page: Page, settings: Settings, sample: Path) -> None:
    with front_end(settings.replace(require_keys=True)) as url:
        page.goto(url)
        key = page.get_by_label("API key", exact=True)
        expect(key).to_be_hidden()
        choose(page, sample)
        cut_out(page, "red circle")
        expect(key).to_be_focused()
        expect(newest(page).locator(".note")).to_have_text("This service needs an API key.")
        expect(newest(page).locator(".status")).to_have_text("Waits to be uploaded")
        key.fill("maskq_wrong")
        key.press("Enter")
        expect(page.locator("#key-words")).to_have_text("The service does not accept this API key.")
        key.fill(_make_key(settings))
        key.press("Enter")
        expect_status(newest(page), "Queued: next")
        expect(key).to_be_hidden()


def test_the_page_goes_on_when_the_connection_is_back(page: Page, settings: Settings, sample: Path) -> None:
    with front_end(settings) as url:
        page.goto(url)
        choose(page, sample)
        page.context.set_offline(True)
        cut_out(page, "cat")
        expect(newest(page).locator(".note")).to_contain_text("cannot be reached")
        expect(page.locator("#serving")).to_contain_text("cannot be reached")
        page.context.set_offline(False)
        expect_status(newest(page), "Queued: next")
        page.context.set_offline(True)
        newest(page).get_by_role("button", name="Cancel").click()
        expect(newest(page).locator(".note")).to_contain_text("cannot be reached")
        page.context.set_offline(False)
        expect_status(newest(page), "Canceled")


def test_an_upload_shows_its_progress(page: Page, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "noise.png").write_bytes(encoded(Image.effect_noise((900, 900), 90).convert("RGB")))
    with front_end(settings) as url:
        page.goto(url)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        choose(page, tmp_path / "noise.png")
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 600_000}
        session.send("Network.emulateNetworkConditions", slow)
        cut_out(page, "cat")
        expect(newest(page).locator(".status")).to_have_text(re.compile(r"Uploading: [1-9]\d? %"))
        expect_status(newest(page), "Queued: next")


def test_the_page_works_behind_tls_and_a_path(
    browser: Browser, settings: Settings, sample: Path, tmp_path: Path
) -> None:
    port = free_port()
    public = f"https://127.0.0.1:{port}/maskq"
    with (
        front_end(settings.replace(public_url=public)) as upstream,
        nginx(tmp_path, port, upstream, "/maskq/"),
        browser.new_context(ignore_https_errors=True) as context,
    ):
        page = context.new_page()
        hosts = hosts_of_requests(page)
        page.goto(public)
        expect(page.locator("#model")).to_have_text("demo")
        choose(page, sample)
        cut_out(page, "red circle")
        expect_status(newest(page), "Queued: next")
        _assert_too_large_for_the_proxy(page, tmp_path)
        page.get_by_role("link", name="API").click()
        expect(page.locator(".opblock").first).to_be_visible()
        assert page.url == f"{public}/docs"
        models = page.locator(".opblock-get", has_text="/models")
        models.locator(".opblock-summary-control").click()
        models.get_by_role("button", name="Try it out").click()
        models.get_by_role("button", name="Execute").click()
        expect(models.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        assert hosts == {"127.0.0.1"}


def _assert_too_large_for_the_proxy(page: Page, folder: Path) -> None:
    """This proxy accepts 1 MB, and refuses more with a page of HTML."""
    (folder / "large.png").write_bytes(encoded(gradient(64, 48)) + bytes(2_000_000))
    choose(page, folder / "large.png")
    cut_out(page, "cat")
    expect_status(newest(page), "The image is too large for this service.")


def _make_key(settings: Settings) -> str:
    """Create a key with the command that a person would use."""
    command = [sys.executable, "-m", "local.keys", "create", "a person"]
    environment = {**os.environ, "REDIS_URL": settings.redis.redis_url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
