"""A service and an engine in this process are asked the same, and score the same."""

from __future__ import annotations

from pathlib import Path

from evaluation.drawn import drawn_questions
from evaluation.run import Asked, evaluate
from shared.settings import Settings


def test_service_and_engine_give_the_same_numbers(service_url: str, root: Path, tmp_path: Path) -> None:
    questions = list(drawn_questions(30, first=8_000))
    settings = Settings(models_dir=root / "models", device="cpu")
    by_engine = evaluate(questions, "drawn", Asked(settings), tmp_path / "engine")
    by_service = evaluate(questions, "drawn", Asked(settings, url=service_url), tmp_path / "service")
    assert by_engine.pop("ceiling") > 0.9
    assert by_service == by_engine
    assert by_service["total"] >= 20
