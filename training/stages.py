"""The three training stages of the model: the vision tower, the language model, then both together."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PaliGemmaForConditionalGeneration

from training import patch_losses, token_losses
from training.batches import Batch, make_batches
from training.optimizers import Average, Optimizers
from training.patch_losses import PatchHead, image_features, normalized, patch_targets
from training.pool import Ints, Pool
from training.progress import Progress
from training.resume import SavedState
from training.token_losses import AuxiliaryHeads, location_softness, sequence_losses
from training.validation import Validation

Losses: TypeAlias = dict[str, Tensor]
StepLosses: TypeAlias = Callable[[float, np.random.Generator], Losses]
"""Computes the losses of one step from the finished share of the stage, 0..1, and a random generator."""


def train_vision(
    model: PaliGemmaForConditionalGeneration,
    head: PatchHead,
    pool: Pool,
    file: Path,
    *,
    seed: int,
    steps: int,
    batch: int = 64,
) -> None:
    """Train the vision tower and projector of ``model`` on patches."""
    trained = nn.ModuleDict(
        {"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector, "head": head}
    )

    def step_losses(done: float, random: np.random.Generator) -> Losses:
        targets = patch_targets(pool, random.integers(len(pool), size=batch), random.random(batch) < 0.5, random)
        return head.losses(image_features(model, targets.pixels), targets, patch_losses.edge_softness(done))

    _train("vision", trained, step_losses, file, seed=seed, steps=steps)


def train_language(
    model: PaliGemmaForConditionalGeneration,
    heads: AuxiliaryHeads,
    pool: Pool,
    file: Path,
    *,
    seed: int,
    steps: int,
    batch: int = 64,
) -> None:
    """Train the language model of ``model``. The features of the finished vision tower are computed once."""
    trained = nn.ModuleDict({"language": model.model.language_model, "auxiliary": heads})
    views = np.arange(len(pool)) % 2
    features = _cached_features(model, pool, views)

    def step_losses(done: float, random: np.random.Generator) -> Losses:
        scenes = random.integers(len(pool), size=batch)
        batches = make_batches(pool, scenes, views[scenes], random)
        softness = location_softness(done)
        losses = [sequence_losses(model, heads, features[part.scenes], part, softness) for part in batches]
        return _weighted_mean(batches, losses)

    _train("language", trained, step_losses, file, seed=seed, steps=steps)


def train_joint(
    model: PaliGemmaForConditionalGeneration,
    head: PatchHead,
    heads: AuxiliaryHeads,
    pool: Pool,
    file: Path,
    *,
    seed: int,
    steps: int,
    validation: Validation,
    batch: int = 64,
    rate: float = 0.7,
) -> None:
    """Train all of ``model`` on sequences, at a lower rate, with the patch losses added."""
    trained = nn.ModuleDict({"model": model.model, "head": head, "auxiliary": heads})

    def step_losses(done: float, random: np.random.Generator) -> Losses:
        scenes, views = random.integers(len(pool), size=batch), random.integers(2, size=batch)
        batches = make_batches(pool, scenes, views, random)
        losses = []
        for part in batches:
            patches = patch_targets(pool, part.scenes, part.views == 1, random)
            features = image_features(model, patches.pixels)
            sequence = sequence_losses(model, heads, features, part, location_softness((1 + done) / 2))
            losses.append(sequence | head.losses(features, patches, patch_losses.edge_softness(1.0)))
        return _weighted_mean(batches, losses)

    def validate(step: int, average: nn.Module) -> None:
        validation.run_if_due(step, model, average.get_submodule("model"))

    _train("joint", trained, step_losses, file, seed=seed, steps=steps, rate=rate, validate=validate)


def _weighted_mean(batches: list[Batch], losses: list[Losses]) -> Losses:
    """The mean losses of batches of different sizes, weighted by size."""
    total = sum(len(batch.scenes) for batch in batches)
    shares = torch.tensor([len(batch.scenes) / total for batch in batches])
    return {name: (torch.stack([part[name] for part in losses]) * shares).sum() for name in losses[0]}


WEIGHTS = {name: 0.3 * weight for name, weight in patch_losses.WEIGHTS.items()} | token_losses.WEIGHTS
"""Weight of every loss. The vision stage has patch losses only, so their common factor has no effect there."""


def _train(
    name: str,
    trained: nn.Module,
    step_losses: StepLosses,
    file: Path,
    *,
    seed: int,
    steps: int,
    rate: float = 1.0,
    validate: Callable[[int, nn.Module], None] = lambda step, average: None,
) -> None:
    """Train ``trained`` on ``step_losses``, then set it to its averaged weights. Resumes from ``file``.

    ``validate`` is called after every step with the averaged weights. The random numbers of a step depend on ``seed``
    and its number only, so an interrupted run ends with the same weights as an uninterrupted one.
    """
    optimizers, average = Optimizers(trained, steps, rate=rate), Average(trained)
    saved = SavedState(file, trained=trained, optimizers=optimizers, average=average)
    done = saved.load()
    progress = Progress(name, steps, file.parent, done=done)
    for step in range(done, steps):
        losses = step_losses(step / steps, np.random.default_rng([seed, step]))
        optimizers.step(torch.stack([WEIGHTS[loss] * value for loss, value in losses.items()]).sum())
        average.update(trained)
        progress.report(step, **{loss: value.item() for loss, value in losses.items()})
        if saved.is_due() or step + 1 == steps:
            saved.save(step + 1)
        validate(step + 1, average.module)
    trained.load_state_dict(average.module.state_dict())


@torch.no_grad()
def _cached_features(model: PaliGemmaForConditionalGeneration, pool: Pool, views: Ints, batch: int = 250) -> Tensor:
    """bfloat16[N, 64, 192]: image features of every scene of the pool, each in one view."""
    parts = []
    for start in range(0, len(pool), batch):
        scenes = np.arange(start, min(start + batch, len(pool)))
        pixels = normalized(pool.pixels(scenes, views[scenes] == 1), None)
        parts.append(image_features(model, pixels).to(torch.bfloat16))
    return torch.cat(parts)
