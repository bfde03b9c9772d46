"""Evaluating the demo checkpoint gives the same numbers every time, and those of the reference formula."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from evaluation.datasets.scenes import scene_examples
from evaluation.engine_predictor import engine_predictor, evaluate_engine
from evaluation.example import DataError, Example
from evaluation.metrics import Metrics
from evaluation.predictions import Setup, collect_predictions
from evaluation.predictor import NoPrediction, Predictor
from evaluation.scoring import score
from shared.domain.result import SegmentationResult
from shared.settings import Settings
from worker.stages.mask_vqvae import MaskCodec

pytestmark = pytest.mark.slow

_SCENES = 24


@pytest.fixture(scope="module")
def settings() -> Settings:
    models = Path(__file__).parent.parent.parent / "models"
    return Settings.of(models_dir=models, device="cpu", dtype="float32", max_answer_tokens=128)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(scene_examples(_SCENES, first=7_000))


@pytest.fixture(scope="module")
def run(settings: Settings, examples: list[Example]) -> Callable[[Path], Metrics]:
    return lambda folder: evaluate_engine(examples, "scenes", settings, folder)


def test_two_runs_give_the_same_numbers_and_files(run: Callable[[Path], Metrics], tmp_path: Path) -> None:
    first, again = run(tmp_path / "one"), run(tmp_path / "other")
    assert first == again
    assert first["miou"] > 0.7
    assert first["upper_bound"] > 0.95
    assert json.loads((tmp_path / "one" / "metrics.json").read_text())["metrics"] == first
    rows = list(csv.DictReader((tmp_path / "one" / "objects.csv").read_text().splitlines()))
    assert len(rows) == first["total"]
    assert np.mean([float(row["iou"]) for row in rows]) == pytest.approx(first["miou"], abs=1e-4)
    with Image.open(tmp_path / "one" / "worst.png") as sheet:
        assert sheet.size == (6 * 240, 4 * 270)
    for name in ("objects.csv", "worst.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def _cut_in_a_line(file: Path) -> None:
    """Leave the file as if the process had been killed while it wrote a line."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:10]) + lines[10][:50])


def test_an_interrupted_run_predicts_only_the_missing_examples(examples: list[Example], tmp_path: Path) -> None:
    predicted: list[str] = []

    def predict(example: Example) -> SegmentationResult:
        predicted.append(example.id)
        size = {"width": 1, "height": 1}
        return SegmentationResult.model_validate(
            {"image": size, "objects": [], "skipped": [], "truncated": False, "raw_text": example.prompt}
        )

    setup, file = Setup(dataset="d", predictor="a"), tmp_path / "predictions.jsonl"
    complete = collect_predictions(examples, predict, file, setup, in_flight=4)
    assert sorted(predicted) == sorted(example.id for example in examples)
    predicted.clear()
    _cut_in_a_line(file)
    assert collect_predictions(examples, predict, file, setup, in_flight=4) == complete
    assert len(predicted) == _SCENES - 9
    assert collect_predictions(examples, predict, file, setup, in_flight=4) == complete
    assert len(predicted) == _SCENES - 9
    with pytest.raises(DataError, match="another --out"):
        collect_predictions(examples, predict, file, Setup(dataset="d", predictor="b"), in_flight=4)


def test_a_refused_example_is_invalid_and_does_not_stop_the_run(examples: list[Example], tmp_path: Path) -> None:
    def refuse(example: Example) -> SegmentationResult:
        raise NoPrediction("refused")

    predictions = collect_predictions(examples, refuse, tmp_path / "a", Setup(dataset="d", predictor="a"), in_flight=1)
    assert {each.error for each in predictions.values()} == {"refused"}
    assert all(not each.valid for example in examples for each in score(example, None).objects)


def _big_vision_iou(codec: MaskCodec, text: str, truth: np.ndarray) -> float:
    """Mask IoU of the first object, by the formula of big_vision: box edges are truncated to pixels, as there."""
    locations = [int(value) / 1023 for value in re.findall(r"<loc(\d{4})>", text)[:4]]
    codes = [int(value) for value in re.findall(r"<seg(\d{3})>", text)[:16]]
    height, width = truth.shape
    y0, x0, y1, x1 = map(int, np.multiply(locations, (height, width, height, width)))
    soft = codec.decode(np.array([codes], np.int32))[0]
    inside = np.asarray(Image.fromarray(soft).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 0
    shared = (truth[y0:y1, x0:x1] & inside).sum()
    return float(shared / (truth.sum() + inside.sum() - shared))


def test_the_masks_for_clients_score_like_the_reference_formula(settings: Settings) -> None:
    single = [example for example in scene_examples(80, first=7_100) if len(example.ground_truth) == 1]
    assert len(single) > 30
    ours, theirs = [], []
    with engine_predictor(settings) as (predictor, codec):
        for example in single:
            result = predictor(example)
            if len(result.objects) == 1:
                ours.append(score(example, result).objects[0].iou)
                truth = coco.decode(example.ground_truth[0].mask) > 0
                theirs.append(_big_vision_iou(codec, result.raw_text, truth))
    assert len(ours) > 30
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01


def test_examples_that_the_engine_refuses_raise_no_prediction(settings: Settings, examples: list[Example]) -> None:
    def predict(predictor: Predictor, **changes: Any) -> None:
        predictor(replace(examples[0], **changes))

    with engine_predictor(settings) as (predictor, _):
        with pytest.raises(NoPrediction, match="prompt"):
            predict(predictor, prompt="<loc0001>")
        with pytest.raises(NoPrediction):
            predict(predictor, read_image=lambda: b"no image")
