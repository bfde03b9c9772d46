"""A whole evaluation of the demo checkpoint: the same numbers every time, and those of the protocol's own formula."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from evaluation.datasets.scenes import drawn_questions
from evaluation.example import DataError, Question
from evaluation.metrics import Figures
from evaluation.predictions import Setup, collect_answers
from evaluation.predictors import NoPrediction, Predictor, engine_predictor
from evaluation.run import Asked, evaluate
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
def questions() -> list[Question]:
    return list(drawn_questions(_SCENES, first=7_000))


@pytest.fixture(scope="module")
def run(settings: Settings, questions: list[Question]) -> Callable[[Path], Figures]:
    return lambda folder: evaluate(questions, "drawn", Asked(settings), folder)


def test_twice_gives_the_same_numbers_and_every_file(run: Callable[[Path], Figures], tmp_path: Path) -> None:
    first, again = run(tmp_path / "one"), run(tmp_path / "other")
    assert first == again
    assert first["miou"] > 0.7
    assert first["upper_bound"] > 0.95
    assert json.loads((tmp_path / "one" / "figures.json").read_text())["figures"] == first
    rows = list(csv.DictReader((tmp_path / "one" / "objects.csv").read_text().splitlines()))
    assert len(rows) == first["total"]
    assert np.mean([float(row["iou"]) for row in rows]) == pytest.approx(first["miou"], abs=1e-4)
    with Image.open(tmp_path / "one" / "worst.png") as page:
        assert page.size == (6 * 240, 4 * 270)
    for name in ("objects.csv", "worst.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def _without_the_end(file: Path) -> None:
    """What a process killed in the middle of a line leaves."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:10]) + lines[10][:50])


def test_a_run_that_was_cut_off_asks_only_what_is_missing(questions: list[Question], tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(question: Question) -> SegmentationResult:
        asked.append(question.id)
        size = {"width": 1, "height": 1}
        return SegmentationResult.model_validate(
            {"image": size, "objects": [], "skipped": [], "truncated": False, "raw_text": question.prompt}
        )

    setup, file = Setup(data="d", asked="a"), tmp_path / "answers.jsonl"
    whole = collect_answers(questions, answer, file, setup, in_flight=4)
    assert sorted(asked) == sorted(question.id for question in questions)
    asked.clear()
    _without_the_end(file)
    assert collect_answers(questions, answer, file, setup, in_flight=4) == whole
    assert len(asked) == _SCENES - 9
    assert collect_answers(questions, answer, file, setup, in_flight=4) == whole
    assert len(asked) == _SCENES - 9
    with pytest.raises(DataError, match="another --out"):
        collect_answers(questions, answer, file, Setup(data="d", asked="b"), in_flight=4)


def test_a_question_that_is_refused_counts_and_stops_nothing(questions: list[Question], tmp_path: Path) -> None:
    def refuse(question: Question) -> SegmentationResult:
        raise NoPrediction("refused")

    answers = collect_answers(questions, refuse, tmp_path / "a", Setup(data="d", asked="a"), in_flight=1)
    assert {answer.error for answer in answers.values()} == {"refused"}
    assert all(not each.valid for question in questions for each in score(question, None).objects)


def _big_vision_iou(codec: MaskCodec, text: str, truth: np.ndarray) -> float:
    """Mask IoU of an answer's first object, by the formula of the reference, box edges cut off as there."""
    places = [int(value) / 1023 for value in re.findall(r"<loc(\d{4})>", text)[:4]]
    codes = [int(value) for value in re.findall(r"<seg(\d{3})>", text)[:16]]
    height, width = truth.shape
    y0, x0, y1, x1 = map(int, np.multiply(places, (height, width, height, width)))
    soft = codec.decode(np.array([codes], np.int32))[0]
    inside = np.asarray(Image.fromarray(soft).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 0
    shared = (truth[y0:y1, x0:x1] & inside).sum()
    return float(shared / (truth.sum() + inside.sum() - shared))


def test_masks_as_clients_get_them_score_what_the_reference_s_formula_gives(settings: Settings) -> None:
    about_one = [question for question in drawn_questions(80, first=7_100) if len(question.truths) == 1]
    assert len(about_one) > 30
    ours, theirs = [], []
    with engine_predictor(settings) as (answer, codec):
        for question in about_one:
            result = answer(question)
            if len(result.objects) == 1:
                ours.append(score(question, result).objects[0].iou)
                truth = coco.decode(question.truths[0].mask) > 0
                theirs.append(_big_vision_iou(codec, result.raw_text, truth))
    assert len(ours) > 30
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01


def test_what_the_engine_refuses_is_no_answer(settings: Settings, questions: list[Question]) -> None:
    def ask(predictor: Predictor, **changes: object) -> None:
        question = questions[0]
        predictor(Question(**{**vars(question), **changes}))

    with engine_predictor(settings) as (predictor, _):
        with pytest.raises(NoPrediction, match="prompt"):
            ask(predictor, prompt="<loc0001>")
        with pytest.raises(NoPrediction):
            ask(predictor, read_image=lambda: b"no image")
