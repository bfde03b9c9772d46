"""The results of a job over HTTP, with a real store and no worker."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.routing import APIRoute
from PIL import Image
from pycocotools import mask as coco
from redis import Redis

from api.drawing.mask_image import row_runs
from api.routes import events, jobs, models, results, webhooks
from shared.domain.brush import BrushRegion
from shared.domain.job import new_job_id
from shared.domain.result import BrushMask, RleMask
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import LeaseStore
from testing.factories import segmented_object, success
from testing.pictures import encoded, gradient
from testing.servers import front_end
from tests.jobs import assert_problem

_INSIDE = np.zeros((48, 64), np.uint8, order="F")
_INSIDE[10:30, 20:50] = 1
_MASK = RleMask(size=(48, 64), counts=coco.encode(_INSIDE)["counts"].decode())
_BRUSH = BrushMask(region=BrushRegion.of(row_runs(_MASK), 64, 48))
_CAT = segmented_object(box=(20, 10, 50, 30), area=600, mask=_MASK, alternate_masks=[_BRUSH])
_BOX = segmented_object(label="dog", score=0.5, box=(0, 0, 9, 9), area=0, mask=None)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx2.Client]:
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def done(client: httpx2.Client, settings: Settings) -> dict[str, Any]:
    """A job that has succeeded."""
    job = _submit(client)
    _finish(settings)
    finished: dict[str, Any] = client.get(job["urls"]["self"], params={"wait": 10}).json()
    return finished


def _submit(client: httpx2.Client, image: bytes | None = None, **fields: str) -> dict[str, Any]:
    files = {"image_file": ("a.png", image or encoded(gradient(64, 48)))}
    data = {"prompt": "cat", **fields}
    job: dict[str, Any] = client.post("/segment/", data=data, files=files).raise_for_status().json()
    return job


def _finish(settings: Settings) -> None:
    store = LeaseStore.connect(settings)
    lease = store.claim("demo", is_idle=True)
    assert lease is not None
    store.finish(lease, success(_CAT, _BOX))
    store.close()


def _assert_problem(response: httpx2.Response, status: int, code: str) -> str:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json()
    assert problem["type"] == code
    return str(problem["detail"])


def test_every_url_of_a_finished_job_answers(client: httpx2.Client, done: dict[str, Any]) -> None:
    urls = done["urls"]
    assert client.get(urls["result"]).json() == done["result"]
    assert len(urls["masks"]) == 2
    mask = Image.open(io.BytesIO(client.get(urls["masks"][0]).content))
    assert (mask.format, mask.mode) == ("PNG", "1")
    assert (np.asarray(mask) == _INSIDE).all()
    overlay = client.get(urls["overlay"])
    assert overlay.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(overlay.content)).size == (64, 48)


def test_a_result_is_available_in_the_formats_of_other_tools(client: httpx2.Client, done: dict[str, Any]) -> None:
    def read(name: str) -> dict[str, Any]:
        document: dict[str, Any] = client.get(done["urls"]["result"], params={"format": name}).raise_for_status().json()
        return document

    assert read("maskq") == done["result"]
    assert (coco.decode(read("coco")["annotations"][0]["segmentation"]) == _INSIDE).all()
    assert read("roboflow")["predictions"][0]["rle"]["counts"] == _MASK.counts
    assert read("labelstudio")["result"][0]["type"] == "brushlabels"
    _assert_problem(client.get(done["urls"]["result"], params={"format": "yolo"}), 422, "invalid_field")


@pytest.mark.parametrize(("number", "said"), [("2", "2 objects"), ("-1", "2 objects"), ("1", "no mask")])
def test_a_missing_mask_is_not_found(client: httpx2.Client, done: dict[str, Any], number: str, said: str) -> None:
    response = client.get(f"/jobs/{done['id']}/masks/{number}.png")
    assert said in _assert_problem(response, 404, "mask_not_found")


def test_a_mask_number_must_be_a_number(client: httpx2.Client, done: dict[str, Any]) -> None:
    _assert_problem(client.get(f"/jobs/{done['id']}/masks/one.png"), 422, "invalid_field")
    _assert_problem(client.get(f"/jobs/{done['id']}/masks/{'9' * 5000}.png"), 422, "invalid_field")


@pytest.mark.parametrize("path", ["result", "overlay.png", "masks/0.png"])
def test_an_unfinished_job_has_no_result_and_an_unknown_one_is_not_found(client: httpx2.Client, path: str) -> None:
    _assert_problem(client.get(f"/jobs/{_submit(client)['id']}/{path}"), 409, "result_not_ready")
    _assert_problem(client.get(f"/jobs/{new_job_id()}/{path}"), 404, "job_not_found")
    _assert_problem(client.get(f"/jobs/nonsense/{path}"), 404, "job_not_found")


def test_masks_are_available_after_the_image_has_expired(
    client: httpx2.Client, done: dict[str, Any], settings: Settings
) -> None:
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.delete(key_names.image(done["id"]))
    _assert_problem(client.get(done["urls"]["overlay"]), 410, "image_expired")
    assert client.get(done["urls"]["masks"][0]).status_code == 200


def test_an_image_that_does_not_decode_has_no_overlay(client: httpx2.Client, settings: Settings) -> None:
    whole = encoded(Image.effect_noise((200, 200), 90).convert("RGB"))
    job = _submit(client, whole[:2000] + bytes(500) + whole[2500:])
    _finish(settings)
    _assert_problem(client.get(job["urls"]["overlay"]), 422, "image_unreadable")


def test_label_studio_gets_the_names_of_its_control_tags(client: httpx2.Client, done: dict[str, Any]) -> None:
    url = done["urls"]["result"]

    def names(**params: str) -> tuple[str, str]:
        region = client.get(url, params={"format": "labelstudio", **params}).raise_for_status().json()["result"][0]
        return region["from_name"], region["to_name"]

    assert names() == ("tag", "image")
    assert names(from_name="masks 'é\"") == ("masks 'é\"", "image")
    assert names(to_name="photo") == ("tag", "photo")
    assert names(from_name="photo", to_name="masks") == ("photo", "masks")
    for params in ({"from_name": ""}, {"to_name": "a" * 101}, {"from_name": "a\0"}):
        refused = assert_problem(client.get(url, params={"format": "labelstudio", **params}), 422, "invalid_field")
        assert next(iter(params)) in refused["detail"]
    assert_problem(client.get(url, params={"format": "coco", "to_name": "photo"}), 422, "invalid_field")


def test_the_names_of_control_tags_are_kept_with_the_job(client: httpx2.Client, settings: Settings) -> None:
    names = {"from_name": "masks 'é\"", "to_name": "photo"}
    job = _submit(client, None, mask_format="labelstudio", **names)
    _finish(settings)
    done = client.get(job["urls"]["self"], params={"wait": 10}).json()
    assert done["result"]["objects"][0]["mask"]["region"].items() >= {**names, "id": f"{job['id']}-0"}.items()
    assert client.get(job["urls"]["result"]).json() == done["result"]

    def region(**params: str) -> Any:
        answer = client.get(job["urls"]["result"], params={"format": "labelstudio", **params})
        return answer.raise_for_status().json()["result"][0]

    assert region() == {**done["result"]["objects"][0]["mask"]["region"], "value": region()["value"]}
    assert region(to_name="image")["from_name"] == names["from_name"]
    assert region(to_name="image")["to_name"] == "image"


@pytest.mark.parametrize("wrong", [{"from_name": "a\tb"}, {"to_name": "a" * 101}, {"to_name": ""}, {"from_name": 7}])
def test_a_name_that_no_control_tag_has_is_refused(client: httpx2.Client, wrong: dict[str, Any]) -> None:
    body = {"prompt": "cat", "image_base64": base64.b64encode(encoded(gradient(8, 8))).decode(), **wrong}
    refused = assert_problem(client.post("/segment/", json=body), 422, "invalid_field")
    assert refused["detail"].startswith(next(iter(wrong)))


_NOT_COMPARED = ("date", "x-request-id")


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/jobs",
        "/jobs?status=succeeded",
        "/jobs/{id}",
        "/jobs/{id}?wait=1",
        "/jobs/{id}/result",
        "/jobs/{id}/result?format=coco",
        "/jobs/{id}/masks/0.png",
        "/jobs/{id}/overlay.png",
        "/jobs/{id}/webhooks",
        "/jobs/{id}/masks/9.png",
        "/jobs/{id}?waits=1",
    ],
)
def test_head_has_the_headers_of_get_and_no_body(client: httpx2.Client, done: dict[str, Any], path: str) -> None:
    path = path.format(**done)
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    headers = [{k: v for k, v in each.headers.items() if k not in _NOT_COMPARED} for each in (get, head)]
    assert headers[0] == headers[1]
    assert int(head.headers["content-length"]) == len(get.content)


@pytest.mark.parametrize("path", ["/", "/livez", "/docs", "/metrics", "/openapi.json", "/models", "/limits"])
def test_head_works_wherever_get_does(client: httpx2.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_a_known_state_is_304(client: httpx2.Client, done: dict[str, Any]) -> None:
    url = f"/jobs/{done['id']}"
    etag = client.head(url).headers["etag"]
    assert client.head(url, headers={"If-None-Match": etag}).status_code == 304


def test_head_of_events_does_not_wait(client: httpx2.Client) -> None:
    answer = client.head(f"/jobs/{_submit(client)['id']}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers  # the stream has none
    assert client.get("/models").status_code == 200  # the connection is free


def test_every_get_of_a_job_may_be_head() -> None:
    modules = (events, jobs, models, results, webhooks)
    routes = [each for module in modules for each in module.router.routes if isinstance(each, APIRoute)]
    of = {method: {each.path for each in routes if method in (each.methods or ())} for method in ("GET", "HEAD")}
    assert len(of["GET"]) >= 8
    assert of["GET"] <= of["HEAD"]


_UNREADABLE = b"no JSON"
"""As a result, this makes every request fail that reads it."""


def _make_unreadable(settings: Settings, job_id: str) -> None:
    with Redis.from_url(settings.redis.redis_url) as redis:
        assert redis.set(key_names.result(job_id), _UNREADABLE, keepttl=True, xx=True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 304),
        ("HEAD", "", 304),
        ("GET", "/result", 304),
        ("GET", "/result?format=coco", 304),
        ("GET", "/masks/0.png", 304),
        ("GET", "/overlay.png", 304),
        ("GET", "/picture.png", 304),
        ("HEAD", "/events", 200),
        ("GET", "/webhooks", 200),
        ("POST", "/webhooks/redeliver", 409),
        ("POST", "/cancel", 409),
        ("DELETE", "", 204),
    ],
)
def test_a_result_that_is_not_in_the_answer_is_not_read(
    client: httpx2.Client, done: dict[str, Any], settings: Settings, method: str, path: str, status: int
) -> None:
    known = client.get(f"/jobs/{done['id']}").headers["etag"]
    _make_unreadable(settings, done["id"])
    answer = client.request(method, f"/jobs/{done['id']}{path}", headers={"If-None-Match": known})
    assert answer.status_code == status


def test_a_rendering_that_is_kept_needs_no_result(
    client: httpx2.Client, done: dict[str, Any], settings: Settings
) -> None:
    paths = ["/result", "/masks/0.png", "/overlay.png"]
    made = [client.get(f"/jobs/{done['id']}{path}").content for path in paths]
    _make_unreadable(settings, done["id"])
    assert [client.get(f"/jobs/{done['id']}{path}").content for path in paths] == made
    assert client.get(f"/jobs/{done['id']}").status_code == 500
