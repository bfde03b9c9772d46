"""Held-out scenes through the whole service: its results are compared with the ground truth of the drawn scenes."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from evaluation.datasets.scenes import drawn_questions
from evaluation.predictors import service_predictor
from evaluation.run import Asked, evaluate
from shared.settings import Settings
from testing.pictures import encoded, gradient

pytestmark = pytest.mark.slow


def test_held_out_objects_are_cut_out(service_url: str, tmp_path: Path) -> None:
    asked = list(drawn_questions(120, first=2_000))
    found = evaluate(asked, "drawn", Asked(Settings.of(), url=service_url), tmp_path)
    assert found["failed"] == 0
    assert found["total"] >= 100
    assert found["miou"] >= 0.7
    assert found["extra"] <= 0.1 * found["total"]
    assert found["absent"] >= 15
    assert found["absent_right"] >= 0.8


def test_each_phrase_of_a_prompt_labels_its_own_objects(service_url: str) -> None:
    asked = [question for question in drawn_questions(300, first=3_000) if " ; " in question.prompt]
    assert len(asked) >= 20
    with service_predictor(service_url) as answer:
        labels = [[found.label for found in answer(question).objects] for question in asked]
    phrases = [question.prompt.split(" ; ") for question in asked]
    pairs = list(zip(labels, phrases, strict=True))
    assert sum(names[:1] == wanted[:1] for names, wanted in pairs) >= 0.8 * len(asked)
    assert sum(set(names) == set(wanted) for names, wanted in pairs) >= 3  # the demo model often forgets the second


def test_every_format_shows_the_same_mask(client: httpx2.Client) -> None:
    question = next(each for each in drawn_questions(20, first=2_000) if each.truths)
    job = _submit(client, question.read_image(), question.prompt, mask_format="png,rle,polygon,crop")
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


def test_an_image_of_one_pixel_gets_a_result(client: httpx2.Client) -> None:
    assert _finished(client, _submit(client, encoded(Image.new("RGB", (1, 1)))))["status"] == "succeeded"


def test_readyz_and_models_show_the_live_worker(client: httpx2.Client) -> None:
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
