"""Drawn scenes with the exact mask of every object: what the demo model is measured on.

``draw_scene(seed)`` always gives the same pixels for the same seed. Needs numpy and OpenCV only.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from scenes.layout import COLOR_NAMES, Shape, plan_scene
from scenes.outlines import KINDS
from scenes.painting import Pixels, coverage, paint
from shared.domain.paligemma import read_prompt

__all__ = ["COLOR_NAMES", "HELD_OUT_SEEDS", "KINDS", "TRAINING_SEEDS", "Scene", "SceneObject", "draw_scene", "phrases"]

Mask: TypeAlias = npt.NDArray[np.bool_]

TRAINING_SEEDS = range(10_000_000)
HELD_OUT_SEEDS = range(10_000_000, 10_100_000)
"""Scenes of these seeds are for measuring only; no training stage draws them."""


@dataclass(frozen=True)
class SceneObject:
    """One drawn object: ``mask`` is bool[H, W]; ``box`` is (y0, x0, y1, x1) in 0..1."""

    kind: str
    color: str
    mask: Mask
    box: tuple[float, float, float, float]
    shape: Shape


@dataclass(frozen=True)
class Scene:
    """A painted scene: ``image`` is uint8[H, W, 3] RGB."""

    seed: int
    image: Pixels
    objects: tuple[SceneObject, ...]

    def matching(self, phrase: str) -> list[SceneObject]:
        """The objects that ``phrase`` names, in answer order: from the top down, then from the left."""
        named = (item for item in self.objects if item.shape.answers_to(phrase))
        return sorted(named, key=lambda item: item.shape.locations[:2])

    def answers(self, prompt: str) -> list[tuple[str, SceneObject]]:
        """(label, object) pairs in answer order for a prompt like "segment red circle ; square"."""
        return [(phrase, item) for phrase in phrases(prompt) for item in self.matching(phrase)]


def phrases(prompt: str) -> list[str]:
    """The things that a prompt asks for."""
    return read_prompt(prompt)


def draw_scene(seed: int) -> Scene:
    """Plan and paint the scene of ``seed`` at its own size."""
    plan = plan_scene(seed)
    objects = tuple(
        SceneObject(
            kind=shape.kind,
            color=shape.color,
            mask=coverage(shape.outlines, plan.width, plan.height) >= 0.5,
            box=shape.box,
            shape=shape,
        )
        for shape in plan.shapes
    )
    return Scene(seed, paint(plan, plan.width, plan.height), objects)
