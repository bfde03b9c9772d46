"""A real Label Studio asks `maskq labelstudio` for predictions, and stores them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from testing.fleet import Fleet
from testing.pictures import encoded, gradient
from tests.client.labelstudio import decoded
from tests.client.labelstudio.backend_process import backend_process
from tests.client.labelstudio.phrase_worker import SCORE, box_of, mask_of
from tests.peers.label_studio import VARIABLE, LabelStudio, label_studio

pytestmark = [pytest.mark.slow, pytest.mark.labelstudio, pytest.mark.timeout(900)]

_SIZES = [(64, 48), (90, 130)]
_IMAGES = {f"photo-{width}.png": encoded(gradient(width, height)) for width, height in _SIZES}
_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <{control} name="shapes" toName="image">
    <Label value="Cat"/>
    <Label value="Vehicle" alias="vehicle" predicted_values="red car"/>
  </{control}>
  <TextArea name="prompt" toName="image" editable="true" smart="true"/>
</View>"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} is not set: the Python of an environment with label-studio==1.23.2")
    with label_studio(python, tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, running: LabelStudio) -> Iterator[str]:
    worker = (sys.executable, "-m", "tests.client.labelstudio.phrase_worker")
    with Fleet(tmp_path_factory.mktemp("phrases"), worker, deliverers=0) as fleet:
        yield fleet.url


@pytest.fixture(scope="module", params=["legacy", "personal"])
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, running: LabelStudio, service: str
) -> Iterator[str]:
    """`maskq labelstudio`, with both kinds of tokens."""
    token = running.token if request.param == "legacy" else running.personal_token()
    log = tmp_path_factory.mktemp("backend") / "log"
    with backend_process(service, running.url, log, LABEL_STUDIO_API_KEY=token) as url:
        yield url


def _project(running: LabelStudio, backend: str, control: str) -> tuple[int, int]:
    """A project with a task for each image, and the backend connected to it."""
    project = running.project(_CONFIG.format(control=control), _IMAGES)
    return project, running.connect(project, backend)


def test_label_studio_stores_the_masks_of_all_tasks(running: LabelStudio, backend: str) -> None:
    project, _ = _project(running, backend, "BrushLabels")
    running.retrieve_predictions(project)
    tasks = running.tasks(project)
    sizes = []
    for task in tasks:
        (prediction,) = task["predictions"]
        assert prediction["score"] == pytest.approx(SCORE)
        regions = prediction["result"]
        assert [each["value"]["brushlabels"] for each in regions] == [["Cat"], ["vehicle"]]
        for region, phrase in zip(regions, ["cat", "red car"], strict=True):
            width, height = region["original_width"], region["original_height"]
            assert np.array_equal(decoded.brush(region), mask_of(phrase, width, height))
        sizes.append((width, height))
    assert sorted(sizes) == sorted(_SIZES)


def test_label_studio_stores_polygons_and_boxes(running: LabelStudio, backend: str) -> None:
    for control in ("PolygonLabels", "RectangleLabels"):
        project, _ = _project(running, backend, control)
        running.retrieve_predictions(project)
        for task in running.tasks(project):
            regions = [each for each in task["predictions"][0]["result"] if each["value"][control.lower()] == ["Cat"]]
            mask = mask_of("cat", regions[0]["original_width"], regions[0]["original_height"])
            if control == "PolygonLabels":
                assert np.array_equal(np.logical_or.reduce([decoded.polygon(each) for each in regions]), mask)
            else:
                assert [decoded.rectangle(each) for each in regions] == [box_of(mask)]


def test_label_studio_asks_for_what_an_annotator_types(running: LabelStudio, backend: str) -> None:
    project, connected = _project(running, backend, "BrushLabels")
    task = running.tasks(project)[0]["id"]
    text = {"id": "a", "type": "textarea", "from_name": "prompt", "to_name": "image", "value": {"text": ["red car"]}}
    body = {"task": task, "context": {"result": [text]}}
    answer = running.ask("POST", f"/api/ml/{connected}/interactive-annotating", json=body)
    assert "errors" not in answer, answer
    (region,) = answer["data"]["result"]
    assert region["value"]["brushlabels"] == ["vehicle"]
    size = (region["original_width"], region["original_height"])
    assert np.array_equal(decoded.brush(region), mask_of("red car", *size))


def test_label_studio_asks_again_for_tasks_that_have_failed(running: LabelStudio, backend: str, tmp_path: Path) -> None:
    project, connected = _project(running, backend, "BrushLabels")
    running.ask("POST", f"/api/projects/{project}/import", json=[{"image": "/data/upload/999/gone.png"}])
    for expected in ([0, 2, 2], [0, 0, 2, 2]):
        running.retrieve_predictions(project)
        predictions = [each for task in running.tasks(project) for each in task["predictions"]]
        assert sorted(len(each["result"]) for each in predictions) == expected
    assert running.ask("GET", f"/api/ml/{connected}/versions")["versions"]
    assert running.ask("GET", f"/api/ml/{connected}")["state"] == "CO"
