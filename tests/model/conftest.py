"""The demo checkpoint, loaded once, by the code that also loads official checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.registry import served_model
from shared.settings import Settings
from worker.build import limit_threads, set_up_libraries
from worker.loading.checkpoint import Checkpoint, load_checkpoint


@pytest.fixture(scope="session")
def demo_settings() -> Settings:
    """CPU and float32 on every machine, because results must not depend on the machine."""
    models = Path(__file__).parent.parent.parent / "models"
    return Settings.of(models_dir=models, device="cpu", dtype="float32", max_answer_tokens=64)


@pytest.fixture(scope="session")
def demo(demo_settings: Settings) -> Checkpoint:
    set_up_libraries()
    checkpoint = load_checkpoint(served_model(demo_settings.model), demo_settings.checkpoint, demo_settings.model)
    limit_threads(checkpoint.model)
    return checkpoint
