"""The three stages of the model: the tower alone, the language model alone, both together."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PaliGemmaForConditionalGeneration

from training import patch_losses, token_losses
from training.batches import Batch, make_batches
from training.export import Saved
from training.optimizers import Average, Optimizers
from training.patch_losses import PatchHead, image_features, lessons_of, normalized
from training.pool import Ints, Pool
from training.progress import Progress
from training.token_losses import Helpers, location_softness, sentence_losses
from training.validation import Validation

Losses: TypeAlias = dict[str, Tensor]
Lesson: TypeAlias = Callable[[float, np.random.Generator], Losses]
"""From the share of the stage that is done, 0..1, and a source of chance, to the losses of one step."""


def train_dense(
    model: PaliGemmaForConditionalGeneration,
    head: PatchHead,
    pool: Pool,
    file: Path,
    *,
    seed: int,
    steps: int,
    batch: int = 64,
) -> None:
    """Teach the vision tower and projector of ``model`` patch by patch."""
    student = nn.ModuleDict(
        {"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector, "head": head}
    )

    def lesson(done: float, random: np.random.Generator) -> Losses:
        lessons = lessons_of(pool, random.integers(len(pool), size=batch), random.random(batch) < 0.5, random)
        return head.losses(image_features(model, lessons.pixels), lessons, patch_losses.edge_softness(done))

    _train("dense", student, lesson, file, seed=seed, steps=steps)


def train_language(
    model: PaliGemmaForConditionalGeneration,
    helpers: Helpers,
    pool: Pool,
    file: Path,
    *,
    seed: int,
    steps: int,
    batch: int = 64,
) -> None:
    """Teach the language model of ``model`` over what the finished tower says about the pool, computed once."""
    student = nn.ModuleDict({"language": model.model.language_model, "helpers": helpers})
    views = np.arange(len(pool)) % 2
    features = cached_features(model, pool, views)

    def lesson(done: float, random: np.random.Generator) -> Losses:
        scenes = random.integers(len(pool), size=batch)
        batches = make_batches(pool, scenes, views[scenes], random)
        softness = location_softness(done)
        return _together(
            batches,
            [sentence_losses(model, helpers, features[part.scenes], part, softness) for part in batches],
        )

    _train("language", student, lesson, file, seed=seed, steps=steps)


def train_joint(
    model: PaliGemmaForConditionalGeneration,
    head: PatchHead,
    helpers: Helpers,
    pool: Pool,
    file: Path,
    *,
    seed: int,
    steps: int,
    validation: Validation,
    batch: int = 64,
    rate: float = 0.7,
) -> None:
    """Teach the whole of ``model`` on sentences, at a lower rate, with the patch lessons beside them."""
    student = nn.ModuleDict({"model": model.model, "head": head, "helpers": helpers})

    def lesson(done: float, random: np.random.Generator) -> Losses:
        scenes, views = random.integers(len(pool), size=batch), random.integers(2, size=batch)
        batches = make_batches(pool, scenes, views, random)
        losses = []
        for part in batches:
            patches = lessons_of(pool, part.scenes, part.views == 1, random)
            features = image_features(model, patches.pixels)
            told = sentence_losses(model, helpers, features, part, location_softness((1 + done) / 2))
            losses.append(told | head.losses(features, patches, patch_losses.edge_softness(1.0)))
        return _together(batches, losses)

    def validate(step: int, average: nn.Module) -> None:
        validation.take(step, model, average.get_submodule("model"))

    _train("joint", student, lesson, file, seed=seed, steps=steps, rate=rate, validate=validate)


def _together(batches: list[Batch], losses: list[Losses]) -> Losses:
    """The losses of unequal batches as one, each batch counting by its size."""
    total = sum(len(batch.scenes) for batch in batches)
    shares = torch.tensor([len(batch.scenes) / total for batch in batches])
    return {name: (torch.stack([part[name] for part in losses]) * shares).sum() for name in losses[0]}


WEIGHTS = {name: 0.3 * weight for name, weight in patch_losses.WEIGHTS.items()} | token_losses.WEIGHTS
"""Weight of every loss once sentences count; in the dense stage alone all are scaled alike, which changes nothing."""


def _train(
    name: str,
    student: nn.Module,
    lesson: Lesson,
    file: Path,
    *,
    seed: int,
    steps: int,
    rate: float = 1.0,
    validate: Callable[[int, nn.Module], None] = lambda step, average: None,
) -> None:
    """Train ``student`` on ``lesson`` and leave it with its averaged weights; resumes from ``file``.

    ``validate`` is called after every step with the averaged weights. The chance in a step depends on ``seed`` and its
    number alone, so a run that was cut off ends like one that was not.
    """
    optimizers, average = Optimizers(student, steps, rate=rate), Average(student)
    saved = Saved(file, student=student, optimizers=optimizers, average=average)
    done = saved.load()
    progress = Progress(name, steps, file.parent, done=done)
    for step in range(done, steps):
        losses = lesson(step / steps, np.random.default_rng([seed, step]))
        optimizers.step(torch.stack([WEIGHTS[loss] * value for loss, value in losses.items()]).sum())
        average.update(student)
        progress.report(step, **{loss: value.item() for loss, value in losses.items()})
        if saved.due() or step + 1 == steps:
            saved.save(step + 1)
        validate(step + 1, average.module)
    student.load_state_dict(average.module.state_dict())


@torch.no_grad()
def cached_features(model: PaliGemmaForConditionalGeneration, pool: Pool, views: Ints, batch: int = 250) -> Tensor:
    """bfloat16[N, 64, 192]: what the tower says about every scene of the pool, each in one view."""
    parts = []
    for start in range(0, len(pool), batch):
        scenes = np.arange(start, min(start + batch, len(pool)))
        pixels = normalized(pool.pixels(scenes, views[scenes] == 1), None)
        parts.append(image_features(model, pixels).to(torch.bfloat16))
    return torch.cat(parts)
