"""The modules of the page compute what the service computes: masks of run lengths, outlines, colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser
from pycocotools import mask as coco

from api.drawing.palette import PALETTE, colors_of, oklab
from shared.domain.coco_rle import counts_to_runs, runs_to_counts
from shared.errors import InvalidField, JobDeleted, MaskqError, ServerBusy, StoreUnavailable, StoreUnconfirmed
from shared.settings import Settings
from testing.servers import front_end

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_CALL = """async ([module, name, ...values]) => {
  const folder = document.querySelector("script").src.replace("app.js", "");
  return (await import(folder + module + ".js"))[name](...values);
}"""

_IS_TEMPORARY = """async ([type, status]) => {
  const folder = document.querySelector("script").src.replace("app.js", "");
  return new (await import(folder + "api.js")).ApiError(type, status, "").isTemporary;
}"""


class _Modules:
    """Calls functions of the page's modules in a browser."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def call(self, module: str, name: str, *values: object) -> Any:
        return self._page.evaluate(_CALL, [module, name, *values])

    def is_temporary(self, error: type[MaskqError]) -> bool:
        return bool(self._page.evaluate(_IS_TEMPORARY, [error.type, error.status]))


@pytest.fixture
def modules(browser: Browser, settings: Settings) -> Iterator[_Modules]:
    with front_end(settings) as url, browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        yield _Modules(page)


def _masks() -> list[npt.NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 9), (9, 1), (40, 30), (31, 65)]
    noise = [(random.random(size) < share).astype(np.uint8) for size in sizes for share in (0.1, 0.5, 0.9)]
    return [*noise, np.zeros((5, 7), np.uint8), np.ones((5, 7), np.uint8), _disc(200, 300, 90)]


def _disc(height: int, width: int, radius: int) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[0:height, 0:width]
    return (np.hypot(columns + 0.5 - width / 2, rows + 0.5 - height / 2) < radius).astype(np.uint8)


def _counts(mask: npt.NDArray[np.uint8]) -> str:
    return str(coco.encode(np.asfortranarray(mask))["counts"].decode())


def test_run_lengths_are_unpacked(modules: _Modules) -> None:
    for mask in _masks():
        counts = _counts(mask)
        assert modules.call("rle", "countsToRuns", counts) == counts_to_runs(counts)
    large = [0, 65_000_000, 1, 2**31, 3, 2**31 + 5, 7]  # more than 32 bits
    assert modules.call("rle", "countsToRuns", runs_to_counts(large)) == large


def test_masks_have_their_pixels_and_bounds(modules: _Modules) -> None:
    for mask in _masks():
        runs, (height, width) = counts_to_runs(_counts(mask)), mask.shape
        rows, columns = np.nonzero(mask)
        bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None
        assert modules.call("rle", "boundsOf", runs, height) == bounds
        pixels = modules._page.evaluate(
            """async ([runs, size]) => {
                const folder = document.querySelector("script").src.replace("app.js", "");
                const { imageOf } = await import(folder + "rle.js");
                return [...imageOf([runs], size).data].filter((value, index) => index % 4 === 0);
            }""",
            [runs, [height, width]],
        )
        assert (np.reshape(pixels, (height, width)) == mask * 255).all()


def _area(rings: list[list[list[float]]]) -> float:
    """Holes count negative: they run the other way."""
    total = 0.0
    for ring in rings:
        x, y = np.array(ring).T
        total += float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return total


@pytest.mark.parametrize(("height", "width", "radius"), [(200, 300, 90), (900, 1200, 400), (3000, 4000, 1400)])
def test_an_outline_encloses_the_area_of_its_mask(modules: _Modules, height: int, width: int, radius: int) -> None:
    mask = _disc(height, width, radius)
    mask -= _disc(height, width, radius // 2)
    rings = modules.call("contour", "ringsOf", counts_to_runs(_counts(mask)), height)
    assert len(rings) == 2
    assert _area(rings) == pytest.approx(int(mask.sum()), rel=0.01)
    x, y = np.array(max(rings, key=len)).T
    distance = np.hypot(x - width / 2, y - height / 2)
    assert np.abs(distance - radius).max() < 2 * max(1, 2 * radius / 1024)


def test_the_smallest_and_the_thinnest_masks_have_an_outline(modules: _Modules) -> None:
    one, line, frame = np.zeros((3, 9, 9), np.uint8)
    one[4, 4], line[3], frame[:] = 1, 1, 1
    for mask in (one, line, frame):
        rings = modules.call("contour", "ringsOf", counts_to_runs(_counts(mask)), 9)
        assert len(rings) == 1
        assert _area(rings) > 0
    assert modules.call("contour", "ringsOf", [81], 9) == []


def test_the_page_reacts_while_it_makes_many_large_outlines(modules: _Modules) -> None:
    counts = [_counts(_disc(3000, 4000, radius)) for radius in (400, 600, 800, 1000, 1200)]
    masks = [{"format": "rle", "size": [3000, 4000], "counts": each} for each in counts * 10]
    found = [{"label": "disc", "box": [0, 0, 4000, 3000], "mask": mask, "alternate_masks": []} for mask in masks]
    result = {"image": {"width": 4000, "height": 3000}, "objects": found}
    pauses = modules._page.evaluate(
        """async result => {
            const { objectsOf } = await import(document.querySelector("script").src.replace("app.js", "scene.js"));
            let pauses = 0, isMaking = true;
            const count = () => isMaking && (pauses++, setTimeout(count));
            setTimeout(count);
            await objectsOf(result, null, {});
            isMaking = false;
            return pauses;
        }""",
        result,
    )
    assert pauses >= 5


def test_one_picture_of_many_large_masks_is_made_at_once(modules: _Modules) -> None:
    runs = counts_to_runs(_counts(_disc(3000, 4000, 1400)))
    took_ms = modules._page.evaluate(
        """async runs => {
            const { imageOf } = await import(document.querySelector("script").src.replace("app.js", "rle.js"));
            const begin = performance.now();
            imageOf(Array(50).fill(runs), [3000, 4000]);
            return performance.now() - begin;
        }""",
        runs,
    )
    assert took_ms < 5_000  # it took 350; a picture for each mask took 14,000


def test_the_page_and_the_overlay_choose_the_same_colors(modules: _Modules) -> None:
    random = np.random.default_rng(1)
    assert [color.upper() for color in PALETTE] == modules._page.evaluate(
        """async () => (await import(document.querySelector("script").src.replace("app.js", "colours.js"))).PALETTE"""
    )
    for count in (1, 3, 7, 20):
        corners = random.integers(0, 500, (count, 2))
        boxes = [(int(x), int(y), int(x) + 60, int(y) + 60) for x, y in corners]
        means = [tuple(map(float, mean)) for mean in random.integers(0, 256, (count, 3))]
        assert modules.call("colours", "coloursOf", boxes, means, 10) == colors_of(boxes, means, 10)  # type: ignore[arg-type]
        assert modules.call("colours", "oklab", means[0]) == pytest.approx(oklab(means[0]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "problem", "words"),
    [
        (413, None, "The image is too large for this service."),
        (413, {"type": "image_too_large", "title": "-", "detail": "70 MP"}, "too many pixels for this service: 70 MP."),
        (502, None, "The service cannot be reached. The page tries again by itself."),
        (404, {"type": "job_not_found", "title": "-", "detail": "-"}, "The service does not know this job."),
        (418, None, "The service answered with status 418."),
        (
            422,
            {"type": "other", "title": "A field is invalid", "detail": "prompt: empty"},
            "A field is invalid: prompt",
        ),
    ],
)
def test_errors_are_said_in_words(modules: _Modules, status: int, problem: object, words: str) -> None:
    assert re.search(re.escape(words), modules.call("words", "describe", status, problem, False))


def test_the_page_repeats_what_a_later_request_mends(modules: _Modules) -> None:
    assert all(modules.is_temporary(error) for error in (ServerBusy, StoreUnavailable, StoreUnconfirmed))
    assert not any(modules.is_temporary(error) for error in (InvalidField, JobDeleted))
