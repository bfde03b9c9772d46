"""The whole recipe with very few steps: it writes all files, and an interrupted run continues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from scenes.emoji import CHARACTERS, FONT
from testing.required import require_file
from training.__main__ import Recipe, run
from training.metrics_log import read_curves
from training.resume import SavedState
from training.subjects import SUBJECTS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")]

_STEPS = 4


def _recipe(work: Path, subject: str = "shapes", start: Path | None = None, **changes: int) -> Recipe:
    small = {"masks": 200, "scenes": 16, "batch": 4, "validation_every": 2, "validation_scenes": 2, "final_scenes": 3}
    steps = dict.fromkeys(("vqvae_steps", "vision_steps", "language_steps", "joint_steps"), _STEPS)
    return Recipe(SUBJECTS[subject], work, work / "out", start, **{**small, **steps, **changes})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """With one thread, sums are computed in the same order every time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("recipe")
    metrics = run(_recipe(work))
    assert metrics["examples"] == 3
    return work


def test_the_checkpoint_folder_is_complete(finished: Path) -> None:
    names = {path.name for path in (finished / "out").iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "vae.npz"} <= names
    assert {"sample.jpg", "sample.json"} <= names


def test_all_metrics_are_recorded_and_drawn(finished: Path) -> None:
    curves = read_curves(finished / "metrics.jsonl")
    assert {stage: max(map(max, metrics.values())) for stage, metrics in curves.items()} == {
        "vqvae": _STEPS, "vision": _STEPS, "language": _STEPS, "joint": _STEPS, "validation": _STEPS,
    }  # fmt: skip
    assert set(curves["joint"]) == {
        "token", "attention", "match", "first_object", "object", "color", "kind", "edges", "codes",
    }  # fmt: skip
    assert set(curves["validation"]["miou"]) == {2, 4}
    for name in ("curves.png", "final/samples.png", "final/worst.png"):
        with Image.open(finished / name) as image:
            assert image.width > 1_000
    assert json.loads((finished / "final" / "metrics.json").read_text())["metrics"]["upper_bound"] >= 0


def test_emoji_are_learnt_from_the_weights_for_shapes(tmp_path: Path, root: Path) -> None:
    require_file(FONT, "fonts-noto-color-emoji")
    start = root / "models" / "demo"
    metrics = run(_recipe(tmp_path, "emoji", start, validation_every=_STEPS + 1))
    assert metrics["upper_bound"] > 0.5  # the VQ-VAE did not start random
    curves = read_curves(tmp_path / "metrics.jsonl")
    assert set(curves["vision"]) == {"object", "kind", "edges", "codes"}
    assert min(curves["language"]["attention"].values()) < 0.5  # the language model knows where to look
    vocabulary = json.loads((tmp_path / "out" / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    assert {f"▁{name}" for name in CHARACTERS} <= set(vocabulary)


class _Interrupted(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_weights(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SavedState.save

    def save_and_interrupt(self: SavedState, steps: int) -> None:
        save(self, steps)
        if steps == _STEPS // 2:
            raise _Interrupted

    monkeypatch.setattr(SavedState, "is_due", lambda self: True)
    monkeypatch.setattr(SavedState, "save", save_and_interrupt)
    interruptions = 0
    for _ in range(10):
        try:
            run(_recipe(tmp_path))
            break
        except _Interrupted:
            interruptions += 1
    assert interruptions == 4  # one in each stage
    once, again = (load_file(folder / "out" / "model.safetensors") for folder in (finished, tmp_path))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)
