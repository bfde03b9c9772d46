"""The backend, with requests as Label Studio 1.23 sends them."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import numpy as np
import pytest

from testing.pictures import encoded, gradient
from tests.client.labelstudio import decoded
from tests.client.labelstudio.backend_process import backend_process
from tests.client.labelstudio.phrase_worker import FAINT_SCORE, SCORE, box_of, mask_of
from tests.client.labelstudio.stand_in import PERSONAL_TOKEN, TOKEN, StandIn, stand_in

PHOTO = "/data/upload/1/photo.png"
WIDTH, HEIGHT = 64, 48
BRUSH = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <Header value="What"/>
  <BrushLabels name="tag" toName="image">
    <Label value="Cat" background="#f00"/>
    <Label value="Vehicle" alias="vehicle" predicted_values="red car, truck"/>
  </BrushLabels>
  <TextArea name="prompt" toName="image" editable="true" smart="true"/>
</View>"""


def config(control: str, labels: str = '<Label value="Cat"/>', attributes: str = "") -> str:
    return (
        '<View><Image name="img" value="$image"/>'
        f'<{control} name="shape" toName="img" {attributes}>{labels}</{control}></View>'
    )


def task(number: int = 1, **data: Any) -> dict[str, Any]:
    """A task as Label Studio serializes it."""
    rest = {"is_labeled": False, "overlap": 1, "inner_id": number, "project": 3, "annotations": [], "predictions": []}
    return {"id": number, "data": data or {"image": PHOTO}, "meta": {}, **rest}


def predict(url: str, label_config: str, *tasks: dict[str, Any], context: object = None, **options: Any) -> list[Any]:
    """The results that Label Studio gets."""
    body = {
        "tasks": list(tasks) or [task()],
        "project": "3.1796000000",
        "label_config": label_config,
        "params": {"login": None, "password": None, "context": context},
    }
    answer = httpx2.post(f"{url}/predict", json=body, timeout=60, **options)
    assert answer.status_code == 200, answer.text
    results: list[Any] = answer.json()["results"]
    return results


def typed(text: str | list[str], name: str = "prompt") -> dict[str, Any]:
    """The context when an annotator has typed a text."""
    region = {"id": "a", "type": "textarea", "from_name": name, "to_name": "image", "value": {"text": text}}
    return {"result": [region], "project_credentials_login": None}


def labels_of(result: dict[str, Any]) -> list[str]:
    return [label for each in result["result"] for label in each["value"][each["type"]]]


@pytest.mark.parametrize("path", ["/", "/health"])
def test_it_says_that_it_is_up(backend: str, path: str) -> None:
    assert httpx2.get(backend + path).json() == {"status": "UP", "model_class": "maskq"}
    assert httpx2.get(f"{backend}/metrics").json() == {}


def test_setup_names_the_model_that_predictions_have(backend: str) -> None:
    body = {"project": "3.1", "schema": BRUSH, "hostname": "http://x", "access_token": "t", "extra_params": None}
    version = httpx2.post(f"{backend}/setup", json=body).json()["model_version"]
    assert httpx2.get(f"{backend}/versions").json()["versions"][0] == version
    assert predict(backend, BRUSH)[0]["model_version"] == version


@pytest.mark.parametrize(("action", "status"), [("ANNOTATION_CREATED", 201), ("START_TRAINING", 201), ("X", 200)])
def test_webhooks_are_accepted_and_change_nothing(backend: str, action: str, status: int) -> None:
    answer = httpx2.post(f"{backend}/webhook", json={"action": action, "project": {"id": 3}})
    assert answer.status_code == status


def test_brush_labels_are_the_masks_of_the_phrases(backend: str) -> None:
    (result,) = predict(backend, BRUSH)
    assert labels_of(result) == ["Cat", "vehicle", "vehicle"]
    assert result["score"] == pytest.approx(SCORE)
    for region, phrase in zip(result["result"], ["cat", "red car", "truck"], strict=True):
        assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "image", "brushlabels")
        assert np.array_equal(decoded.brush(region), mask_of(phrase, WIDTH, HEIGHT))
    assert decoded.mistakes(BRUSH, result) == []


def test_polygons_cover_the_pixels_and_leave_out_the_holes(backend: str) -> None:
    (result,) = predict(backend, config("PolygonLabels"))
    assert labels_of(result) == ["Cat", "Cat"]  # the mask has two parts
    parts = [decoded.polygon(region) for region in result["result"]]
    assert np.array_equal(np.logical_or.reduce(parts), mask_of("cat", WIDTH, HEIGHT))
    assert decoded.mistakes(config("PolygonLabels"), result) == []
    assert result["score"] == pytest.approx(SCORE)


def test_rectangles_are_boxes_even_where_there_is_no_mask(backend: str) -> None:
    labels = '<Label value="Cat"/><Label value="box"/>'
    (result,) = predict(backend, config("RectangleLabels", labels))
    boxes = [decoded.rectangle(region) for region in result["result"]]
    assert boxes == [box_of(mask_of(phrase, WIDTH, HEIGHT)) for phrase in ("cat", "box")]
    assert decoded.mistakes(config("RectangleLabels", labels), result) == []
    assert labels_of(predict(backend, config("BrushLabels", labels))[0]) == ["Cat"]


def test_each_control_draws_its_own_labels(backend: str) -> None:
    controls = """<View><Image name="image" value="$image"/>
      <RectangleLabels name="boxes" toName="image"><Label value="Cat"/><Label value="Dog"/></RectangleLabels>
      <BrushLabels name="masks" toName="image"><Label value="Dog"/></BrushLabels></View>"""
    (result,) = predict(backend, controls)
    found = [(each["from_name"], each["value"][each["type"]]) for each in result["result"]]
    assert found == [("boxes", ["Cat"]), ("boxes", ["Dog"]), ("masks", ["Dog"])]
    assert len({each["id"] for each in result["result"]}) == 3


def test_objects_below_the_threshold_of_the_tag_are_left_out(backend: str) -> None:
    labels = '<Label value="Cat"/><Label value="Faint dog"/>'
    assert labels_of(predict(backend, config("BrushLabels", labels))[0]) == ["Cat", "Faint dog"]
    (result,) = predict(backend, config("BrushLabels", labels, f'model_score_threshold="{FAINT_SCORE + 0.1}"'))
    assert labels_of(result) == ["Cat"]


def test_more_labels_than_fit_into_one_prompt_are_asked_for_in_several(backend: str) -> None:
    names = [f"a thing with the long name {number}" for number in range(40)]
    (result,) = predict(backend, config("RectangleLabels", "".join(f'<Label value="{name}"/>' for name in names)))
    assert labels_of(result) == names


def test_a_label_with_the_name_of_a_task_is_a_thing(backend: str) -> None:
    labels = '<Label value="Caption"/><Label value="Question mark"/><Label value="detect: x"/><Label value="Cat"/>'
    (result,) = predict(backend, config("RectangleLabels", labels))
    assert labels_of(result) == ["Caption", "Question mark", "detect: x", "Cat"]


def test_an_image_that_is_full_has_valid_numbers(backend: str, label_studio: StandIn) -> None:
    label_studio.files["/data/upload/1/wide.png"] = encoded(gradient(49, 93))  # 49 * (100 / 49) is more than 100
    whole = config("RectangleLabels", '<Label value="whole box"/>')
    (result,) = predict(backend, whole, task(image="/data/upload/1/wide.png"))
    assert decoded.rectangle(result["result"][0]) == (0, 0, 49, 93)
    assert decoded.mistakes(whole, result) == []


def test_an_annotator_does_not_wait_for_a_batch(phrase_service: str, label_studio: StandIn, tmp_path: Path) -> None:
    options = ["--label-studio-token", TOKEN, "--concurrency", "1"]
    slow = config("BrushLabels", '<Label value="slow"/>')
    ended: list[str] = []
    with backend_process(phrase_service, label_studio.url, tmp_path / "log", *options) as url:

        def ask(name: str, *arguments: Any, **context: Any) -> None:
            predict(url, *arguments, **context)
            ended.append(name)

        batch = Thread(target=ask, args=["batch", slow, *(task(number) for number in range(4))])
        batch.start()
        ask("interactive", BRUSH, context=typed("cat"))
        batch.join()
    assert ended == ["interactive", "batch"]


def test_what_is_not_there_gives_an_empty_prediction(backend: str) -> None:
    (result,) = predict(backend, config("BrushLabels", '<Label value="nothing"/>'))
    assert (result["result"], result["score"]) == ([], 0)


def test_many_tasks_are_answered_in_their_order(backend: str) -> None:
    tasks = [task(number, image=PHOTO if number % 3 else "/data/upload/1/gone.png") for number in range(20)]
    results = predict(backend, config("BrushLabels"), *tasks)
    assert [len(each["result"]) for each in results] == [bool(number % 3) for number in range(20)]


def test_a_failed_image_is_an_empty_prediction_with_a_reason_in_the_log(backend: str, log: Path) -> None:
    good, bad = predict(backend, BRUSH, task(1), task(77, image="/data/upload/1/gone.png"))
    assert len(good["result"]) == 3
    assert (bad["result"], bad["score"]) == ([], 0)
    assert bad["model_version"] != good["model_version"]  # so Label Studio asks again
    assert "task 77 has no prediction" in log.read_text()
    assert "404" in log.read_text()


def test_what_an_annotator_types_is_the_prompt(backend: str) -> None:
    (result,) = predict(backend, BRUSH, context=typed(["truck"]))
    assert labels_of(result) == ["vehicle"]
    assert np.array_equal(decoded.brush(result["result"][0]), mask_of("truck", WIDTH, HEIGHT))


def test_a_typed_phrase_of_no_label_gets_the_chosen_label_and_else_the_first(backend: str) -> None:
    point = {"type": "keypointlabels", "from_name": "point", "value": {"x": 1, "keypointlabels": ["vehicle"]}}
    context = typed("red bus ; cat")
    assert labels_of(predict(backend, BRUSH, context=context)[0]) == ["Cat", "Cat"]
    context["result"].append(point)
    assert labels_of(predict(backend, BRUSH, context=context)[0]) == ["vehicle", "Cat"]


def test_a_chosen_label_without_text_is_asked_for(backend: str) -> None:
    point = {"type": "keypointlabels", "from_name": "point", "value": {"x": 1, "keypointlabels": ["Cat"]}}
    assert labels_of(predict(backend, BRUSH, context={"result": [point]})[0]) == ["Cat"]


@pytest.mark.parametrize("context", [{}, {"result": []}, {"result": None}, {"result": ["x"]}, typed(""), []])
def test_a_context_that_says_nothing_asks_for_all_labels(backend: str, context: object) -> None:
    assert labels_of(predict(backend, BRUSH, context=context)[0]) == ["Cat", "vehicle", "vehicle"]


def test_tasks_that_are_not_ready_in_time_do_not_hold_up_the_others(
    phrase_service: str, label_studio: StandIn, tmp_path: Path
) -> None:
    slow = "".join(f'<Label value="slow {number} {"x" * 400}"/>' for number in range(6))
    options = ["--label-studio-token", TOKEN, "--answer-within", "1.5"]
    with backend_process(phrase_service, label_studio.url, tmp_path / "log", *options) as url:
        (result,) = predict(url, config("BrushLabels", slow))
        assert (result["result"], result["model_version"]) == ([], "maskq-failed")
        assert "not ready in 1.5 s" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"tasks": 1, "label_config": "<View/>"}', 400),
        (b'{"tasks": [], "label_config": 1}', 400),
        (b'{"tasks": [1], "label_config": "<View/>"}', 400),
        (b'{"tasks": [{"id": 1}], "label_config": "<View/>"}', 400),
        (b'{"tasks": [], "label_config": "<View"}', 400),
        (b'{"tasks": [], "label_config": "<!DOCTYPE a [<!ENTITY b \'c\'>]><View>&b;</View>"}', 400),
        (b'{"tasks": [], "label_config": "\\ud800"}', 400),
        (b'{"tasks": [], "label_config": "<View/>"}', 200),
    ],
)
def test_a_request_that_is_none_is_refused(backend: str, body: bytes, status: int) -> None:
    answer = httpx2.post(f"{backend}/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]


def test_a_page_of_another_site_cannot_ask(backend: str) -> None:
    assert httpx2.post(f"{backend}/predict", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_body_that_is_too_large_is_refused(backend: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert httpx2.post(f"{backend}/predict", content=b" " * (33 * 2**20), headers=headers).status_code == 413


def test_with_basic_auth_only_its_user_is_answered(phrase_service: str, label_studio: StandIn, tmp_path: Path) -> None:
    options = ["--basic-auth-user", "ls", "--label-studio-token", TOKEN]
    with backend_process(phrase_service, label_studio.url, tmp_path / "log", *options, BASIC_AUTH_PASS="pä:ss") as url:
        for auth in (None, ("ls", "wrong"), ("other", "pä:ss")):
            answer = httpx2.get(f"{url}/health", auth=auth)
            assert (answer.status_code, "www-authenticate" in answer.headers) == (401, True)
        assert httpx2.get(f"{url}/health", headers={"Authorization": "Basic ?"}).status_code == 401
        assert httpx2.get(f"{url}/health", auth=("ls", "pä:ss")).status_code == 200
        assert len(predict(url, BRUSH, auth=("ls", "pä:ss"))[0]["result"]) == 3


def test_setup_says_so_if_the_service_does_not_answer(label_studio: StandIn, tmp_path: Path) -> None:
    with backend_process("http://127.0.0.1:9", label_studio.url, tmp_path / "log") as url:
        answer = httpx2.post(f"{url}/setup", json={"project": "1.1", "schema": BRUSH})
        assert (answer.status_code, "does not answer" in answer.json()["error"]) == (503, True)
        assert httpx2.get(f"{url}/health").status_code == 200


def test_a_personal_access_token_is_exchanged(phrase_service: str, tmp_path: Path, png: bytes) -> None:
    with stand_in() as own:
        own.files[PHOTO] = png
        token = {"LABEL_STUDIO_API_KEY": PERSONAL_TOKEN}
        with backend_process(phrase_service, own.url, tmp_path / "log", **token) as url:
            assert len(predict(url, BRUSH)[0]["result"]) == 3
            assert len(predict(url, BRUSH)[0]["result"]) == 3
        assert [path for path, _ in own.received].count("/api/token/refresh") == 1
        assert PERSONAL_TOKEN not in (tmp_path / "log").read_text()
