"""The evaluation of a service gives the same numbers as the evaluation of an engine in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.datasets.scenes import drawn_questions
from evaluation.run import Asked, evaluate
from shared.settings import Settings

pytestmark = pytest.mark.slow


def test_service_and_engine_give_the_same_numbers(service_url: str, root: Path, tmp_path: Path) -> None:
    questions = list(drawn_questions(30, first=8_000))
    settings = Settings.of(models_dir=root / "models", device="cpu")
    by_engine = evaluate(questions, "drawn", Asked(settings), tmp_path / "engine")
    by_service = evaluate(questions, "drawn", Asked(settings, url=service_url), tmp_path / "service")
    assert by_engine.pop("upper_bound") > 0.9
    assert by_service == by_engine
    assert by_service["total"] >= 20


def test_the_command_evaluates_the_model_of_a_service(service_url: str, root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evaluation", "drawn", "--scenes", "3", "--service", service_url]
    for _ in range(2):
        run = subprocess.run(
            [*command, "--out", str(tmp_path)], cwd=root, capture_output=True, text=True, check=True, timeout=120
        )
        assert "miou" in run.stdout
    assert json.loads((tmp_path / "figures.json").read_text())["asked"] == "service, demo"
    other = subprocess.run(
        [*command, "--out", str(tmp_path), "--model", "another"], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert other.returncode == 1
    assert "choose another --out" in other.stderr
