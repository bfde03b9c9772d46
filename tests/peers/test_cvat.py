"""The command of CVAT annotates a task with `maskq.cvat`. The server of CVAT is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from testing.pictures import encoded, gradient
from tests.client.labelstudio.phrase_worker import FAINT_SCORE, SCORE, box_of, mask_of
from tests.peers.cvat_server import TASK, CvatServer, cvat_server, decoded
from tests.peers.environment import run_peer

pytestmark = [pytest.mark.slow, pytest.mark.peers]

_SIZES = [(64, 48), (90, 130)]
_IMAGES = {f"a/{width}.png": (encoded(gradient(width, height)), width, height) for width, height in _SIZES}


@pytest.fixture
def cvat() -> Iterator[CvatServer]:
    with cvat_server({"Cat": "mask", "Vehicle": "any", "faint dog": "any"}, _IMAGES) as server:
        yield server


def _annotate(cvat: CvatServer, folder: Path, service: str, *arguments: str, prompt: str) -> str:
    """Run the command. Returns what it wrote to standard error."""
    options = [f"--server-host={cvat.url}", "task", "auto-annotate", str(TASK), "--function-module=maskq.cvat"]
    parameters = ["-p", f"url=str:{service}", "-p", f"prompt=str:{prompt}"]
    command = ["-m", "cvat_cli", *options, *parameters, *arguments]
    return run_peer(command, folder, CVAT_ACCESS_TOKEN="token").stderr


def _pixels(phrase: str, size: tuple[int, int]) -> set[tuple[int, int]]:
    ys, xs = np.nonzero(mask_of(phrase, *size))
    return set(zip(xs.tolist(), ys.tolist(), strict=True))


def test_a_task_is_annotated_with_masks(cvat: CvatServer, tmp_path: Path, phrase_service: str) -> None:
    parameters = ["-p", "labels=str:Cat ; Vehicle ; Vehicle", "-p", "tiles=str:1"]
    _annotate(cvat, tmp_path, phrase_service, *parameters, prompt="cat ; red car ; truck")
    for frame, size in enumerate(_SIZES):
        (cat,) = cvat.shapes_of(frame, "Cat")
        assert (cat["type"], cat["source"], cat["score"]) == ("mask", "auto", pytest.approx(SCORE))
        assert decoded(cat["points"]) == _pixels("cat", size)
        car, truck = cvat.shapes_of(frame, "Vehicle")
        assert decoded(car["points"]) == _pixels("red car", size)
        assert decoded(truck["points"]) == _pixels("truck", size)
        x0, y0, x1, y1 = box_of(mask_of("truck", *size))
        assert truck["points"][-4:] == [x0, y0, x1 - 1, y1 - 1]


def test_masks_become_polygons_with_the_same_pixels(cvat: CvatServer, tmp_path: Path, phrase_service: str) -> None:
    _annotate(cvat, tmp_path, phrase_service, "--conv-mask-to-poly", "--allow-unmatched-labels", prompt="Vehicle")
    for frame, size in enumerate(_SIZES):
        shapes = cvat.shapes_of(frame, "Vehicle")
        assert {each["type"] for each in shapes} == {"polygon"}
        drawn = np.zeros(size[::-1], bool)
        for each in shapes:
            drawn |= _drawn(each["points"], size)
        ys, xs = np.nonzero(drawn)
        assert set(zip(xs.tolist(), ys.tolist(), strict=True)) == _pixels("Vehicle", size)


def _drawn(points: list[float], size: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """The pixels whose centres are inside a polygon, at eight times the size so that its lines are between them."""
    image = Image.new("1", (size[0] * 8, size[1] * 8))
    ImageDraw.Draw(image).polygon([value * 8 for value in points], fill=1)
    return np.asarray(image)[4::8, 4::8]


def test_objects_below_the_confidence_threshold_and_without_a_mask_are_left_out(
    cvat: CvatServer, tmp_path: Path, phrase_service: str
) -> None:
    parameters = ["-p", "labels=str:Vehicle ; faint dog"]
    _annotate(cvat, tmp_path, phrase_service, *parameters, prompt="box ; faint dog")
    assert {each["score"] for each in cvat.shapes} == {FAINT_SCORE}
    cvat.shapes.clear()
    threshold = ["--conf-threshold", "0.5"]
    _annotate(cvat, tmp_path, phrase_service, *parameters, *threshold, prompt="box ; faint dog")
    assert cvat.shapes == []


def test_an_image_whose_job_fails_has_no_shapes_and_the_others_have(
    cvat: CvatServer, tmp_path: Path, phrase_service: str
) -> None:
    parameters = ["-p", "labels=str:Cat ; Vehicle"]
    log = _annotate(cvat, tmp_path, phrase_service, *parameters, prompt="cat ; fails at 90")
    assert "a/90.png has no shapes" in log
    assert {each["frame"] for each in cvat.shapes} == {0}
