"""What a checkpoint can do on held-out scenes, through the very engine that serves it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PaliGemmaForConditionalGeneration

from evaluation.datasets.scenes import drawn_questions
from evaluation.metrics import Figures
from evaluation.run import Asked, evaluate
from shared.settings import Settings
from training.model import MAX_ANSWER, export
from training.progress import METRICS, record

MODELS_DIR = Path(__file__).parent.parent / "models"
FIRST_SCENE = 90_000
"""Of the validations taken on the way: far from those that final figures come from."""
SHOWN = ("miou", "box_error_median", "absent_right")


def measure(checkpoint: Path, scenes: int, folder: Path, first: int = 0) -> Figures:
    """Evaluate a checkpoint folder from scratch on the CPU in float32; `folder` keeps figures, CSV and pages."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = Settings.of(
        model_id=str(checkpoint),
        models_dir=MODELS_DIR,
        device="cpu",
        dtype="float32",
        max_answer_tokens=MAX_ANSWER,
    )
    questions = list(drawn_questions(scenes, first))
    return evaluate(questions, f"drawn scenes={scenes} first={first}", Asked(settings), folder)


@dataclass(frozen=True)
class Validation:
    """Validates a model while it learns, and records the figures beside the losses."""

    work: Path
    scenes: int
    every_steps: int

    def take(self, step: int, model: PaliGemmaForConditionalGeneration, weights: nn.Module) -> None:
        """Export the averaged `weights` of a model like `model`, and measure them if it is time."""
        if step % self.every_steps:
            return
        validated = PaliGemmaForConditionalGeneration(model.config)
        validated.model.load_state_dict(weights.state_dict())
        validated.tie_weights()
        candidate = self.work / "candidate"
        export(validated, self.work / "vae.npz", candidate)
        found = measure(candidate, self.scenes, self.work / "validation", FIRST_SCENE)
        record(self.work / METRICS, "validation", step, {name: found[name] for name in SHOWN if name in found})
