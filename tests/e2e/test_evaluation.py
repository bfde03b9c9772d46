"""The evaluation of a service gives the same numbers as the evaluation of an engine in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.datasets.scenes import scene_examples
from evaluation.engine_predictor import evaluate_engine
from evaluation.http_predictor import Service, evaluate_service
from shared.settings import Settings

pytestmark = pytest.mark.slow


def test_service_and_engine_give_the_same_numbers(service_url: str, root: Path, tmp_path: Path) -> None:
    examples = list(scene_examples(30, first=8_000))
    settings = Settings.of(models_dir=root / "models", device="cpu")
    by_engine = evaluate_engine(examples, "scenes", settings, tmp_path / "engine")
    by_service = evaluate_service(examples, "scenes", Service(service_url), tmp_path / "service")
    assert by_engine.pop("upper_bound") > 0.9
    assert by_service == by_engine
    assert by_service["total"] >= 20


def test_the_command_evaluates_the_default_model_of_a_service(service_url: str, root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evaluation", "scenes", "--count", "3", "--service", service_url]
    for _ in range(2):
        run = subprocess.run(
            [*command, "--out", str(tmp_path)], cwd=root, capture_output=True, text=True, check=True, timeout=120
        )
        assert "miou" in run.stdout
    assert json.loads((tmp_path / "metrics.json").read_text())["predictor"] == "service, demo"
    other = subprocess.run(
        [*command, "--out", str(tmp_path), "--model", "another"], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert other.returncode == 1
    assert "choose another --out" in other.stderr
