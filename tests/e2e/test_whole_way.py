"""Held-out scenes through the whole service over HTTP, scored against their ground truth."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from evaluation.datasets.scenes import scene_examples
from evaluation.http_predictor import Service, evaluate_service, http_predictor
from testing.pictures import encoded, gradient

pytestmark = pytest.mark.slow


def test_held_out_objects_are_cut_out(service_url: str, tmp_path: Path) -> None:
    examples = list(scene_examples(120, first=2_000))
    metrics = evaluate_service(examples, "scenes", Service(service_url), tmp_path)
    assert metrics["failed"] == 0
    assert metrics["total"] >= 100
    assert metrics["miou"] >= 0.7
    assert metrics["extra"] <= 0.1 * metrics["total"]
    assert metrics["absent"] >= 15
    assert metrics["absent_accuracy"] >= 0.8


def test_each_object_is_labelled_with_its_phrase_of_the_prompt(service_url: str) -> None:
    examples = [example for example in scene_examples(300, first=3_000) if " ; " in example.prompt]
    assert len(examples) >= 20
    with http_predictor(Service(service_url)) as predictor:
        labels = [[found.label for found in predictor(example).objects] for example in examples]
    phrases = [example.prompt.split(" ; ") for example in examples]
    pairs = list(zip(labels, phrases, strict=True))
    assert sum(names[:1] == wanted[:1] for names, wanted in pairs) >= 0.8 * len(examples)
    assert sum(set(names) == set(wanted) for names, wanted in pairs) >= 3  # the demo model often forgets the second


def test_every_format_shows_the_same_mask(client: httpx2.Client) -> None:
    example = next(each for each in scene_examples(20, first=2_000) if each.ground_truth)
    job = _submit(client, example.read_image(), example.prompt, mask_format="png,rle,polygon,crop")
    result = _finished(client, job)["result"]
    found = result["objects"][0]
    masks = {mask["format"]: mask for mask in (found["mask"], *found["alternate_masks"])}
    assert list(masks) == ["png", "rle", "polygon", "crop"]
    png = np.asarray(Image.open(io.BytesIO(base64.b64decode(masks["png"]["data"]))))
    assert png.shape == (result["image"]["height"], result["image"]["width"]) == tuple(masks["rle"]["size"])
    assert png.sum() == found["area"] > 0
    x0, y0, x1, y1 = found["box"]
    assert png[y0:y1, x0:x1].sum() == found["area"]
    assert masks["polygon"]["polygons"]


def test_an_image_that_cannot_be_decoded_fails_only_its_own_job(client: httpx2.Client) -> None:
    noise = encoded(Image.effect_noise((200, 200), 90).convert("RGB"))
    damaged = noise[:2000] + bytes(500) + noise[2500:]
    jobs = [_submit(client, image) for image in (encoded(gradient()), damaged, encoded(gradient()))]
    done = [_finished(client, job) for job in jobs]
    assert [job["status"] for job in done] == ["succeeded", "failed", "succeeded"]
    assert done[1]["error"]["type"] == "image_unreadable"


def test_an_image_of_one_pixel_succeeds(client: httpx2.Client) -> None:
    assert _finished(client, _submit(client, encoded(Image.new("RGB", (1, 1)))))["status"] == "succeeded"


def test_the_worker_is_listed_as_live(client: httpx2.Client) -> None:
    assert client.get("/readyz").json() == {"store": True, "live_workers": {"demo": 1}}
    assert client.get("/models").json()[0]["live_workers"] == 1


def _submit(client: httpx2.Client, image: bytes, prompt: str = "red circle", **fields: str) -> dict[str, Any]:
    response = client.post("/segment/", data={"prompt": prompt, **fields}, files={"image_file": ("a", image)})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


def _finished(client: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    while job["status"] in ("queued", "processing"):
        job = client.get(job["urls"]["self"], params={"wait": 30}).json()
    return job
