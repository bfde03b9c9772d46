"""The checkpoint `emoji` finds things by their names, and nothing where there is nothing of that name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.datasets.scenes import scene_examples
from evaluation.engine_predictor import engine_predictor, evaluate_engine
from evaluation.example import Example
from evaluation.predictor import Predictor
from scenes.emoji import FONT
from scenes.layout import FORMS
from shared.registry import read_registry, served_model
from shared.settings import Settings
from testing.required import require_file
from tests.page_samples import phrases_of
from training.page_samples import FOLDER, SEEDS
from worker.loading.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(demo_settings: Settings) -> Settings:
    return demo_settings.replace(model_id="emoji", max_answer_tokens=128)


@pytest.fixture(scope="module")
def predictor(settings: Settings) -> Iterator[Predictor]:
    with engine_predictor(settings) as (predictor, _):
        yield predictor


def _labels(predictor: Predictor, image: Path, prompt: str) -> list[str | None]:
    return [found.label for found in predictor(Example(image.name, prompt, image.read_bytes, [])).objects]


def test_its_numbers_in_the_registry_are_those_of_its_files(settings: Settings) -> None:
    checkpoint = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    entry = read_registry(settings.model)["emoji"]
    assert entry.parameters == sum(value.numel() for value in checkpoint.model.parameters())
    assert entry.image_tokens == checkpoint.processor.image_seq_length
    assert entry.resolution == checkpoint.model.config.vision_config.image_size


def test_held_out_things_are_cut_out(settings: Settings, tmp_path: Path) -> None:
    require_file(FONT, "fonts-noto-color-emoji")
    examples = list(scene_examples(80, first=2_000, form=FORMS["emoji"]))
    metrics = evaluate_engine(examples, "emoji", settings, tmp_path)
    assert metrics["failed"] == 0
    assert metrics["total"] >= 70
    assert metrics["miou"] >= 0.75
    assert metrics["extra"] <= 0.1 * metrics["total"]
    assert metrics["absent"] >= 10
    assert metrics["absent_accuracy"] >= 0.8


def test_its_sample_shows_two_rabbits(predictor: Predictor, root: Path) -> None:
    folder = root / "models" / "emoji"
    prompt = json.loads((folder / "sample.json").read_text("utf-8"))["prompt"]
    assert _labels(predictor, folder / "sample.jpg", prompt) == ["rabbit", "rabbit"]
    assert _labels(predictor, folder / "sample.jpg", "pizza") == []


@pytest.mark.parametrize("name", SEEDS)
def test_each_phrase_of_a_sample_of_the_page_finds_what_it_names(predictor: Predictor, name: str) -> None:
    counts = {phrase: len(_labels(predictor, FOLDER / name, phrase)) for phrase in phrases_of(name)}
    assert counts == _COUNTS[name]


_COUNTS = {
    "emoji-cats.jpg": {"cat": 2, "frog": 1, "banana": 1},
    "emoji-tigers.jpg": {"pizza": 1, "tiger": 3},
    "emoji-cars.jpg": {"car": 2, "bus": 1, "flamingo": 1},
}
