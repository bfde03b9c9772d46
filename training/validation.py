"""Validation: evaluates checkpoints on held-out scenes, with the same engine that serves them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PaliGemmaForConditionalGeneration

from evaluation.datasets.scenes import scene_examples
from evaluation.engine_predictor import evaluate_engine
from evaluation.metrics import Metrics
from scenes.layout import SceneForm
from shared.settings import Settings
from training.export import export_checkpoint
from training.metrics_log import METRICS_FILE, append_metrics
from training.model import MAX_ANSWER_TOKENS
from training.vqvae import VAE_FILE

MODELS_DIR = Path(__file__).parent.parent / "models"
FIRST_SCENE = 90_000
"""First held-out scene for validations during training. The final evaluation starts at scene 0."""
VALIDATION_METRICS = ("miou", "box_error_median", "absent_accuracy")


def evaluate_checkpoint(checkpoint: Path, form: SceneForm, scenes: int, folder: Path, first: int = 0) -> Metrics:
    """Evaluate a checkpoint folder on the CPU in float32. Replaces `folder`, the output of `evaluate`."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = Settings.of(
        model_id=str(checkpoint),
        models_dir=MODELS_DIR,
        device="cpu",
        dtype="float32",
        max_answer_tokens=MAX_ANSWER_TOKENS,
    )
    examples = list(scene_examples(scenes, first, form))
    return evaluate_engine(examples, f"scenes count={scenes} first={first}", settings, folder)


@dataclass(frozen=True)
class Validation:
    """Evaluates a model during training, and records the metrics with the losses."""

    work: Path
    form: SceneForm
    scenes: int
    every_steps: int

    def run_if_due(self, step: int, model: PaliGemmaForConditionalGeneration, weights: nn.Module) -> None:
        """Every `every_steps` steps, evaluate the averaged `weights` in the architecture of `model`."""
        if step % self.every_steps:
            return
        averaged = PaliGemmaForConditionalGeneration(model.config)
        averaged.model.load_state_dict(weights.state_dict())
        averaged.tie_weights()
        candidate = self.work / "candidate"
        export_checkpoint(averaged, self.form.vocabulary, self.work / VAE_FILE, candidate)
        metrics = evaluate_checkpoint(candidate, self.form, self.scenes, self.work / "validation", FIRST_SCENE)
        shown = {name: metrics[name] for name in VALIDATION_METRICS if name in metrics}
        append_metrics(self.work / METRICS_FILE, "validation", step, shown)
