"""Drawn scenes with the exact mask of every object: the evaluation data of the demo model.

``draw_scene(seed)`` returns the same pixels for the same seed. Needs numpy and OpenCV only.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from scenes.layout import ORDINARY, SceneForm, Shape, choose_layout
from scenes.painting import Pixels, coverage, paint
from shared.domain.paligemma import read_prompt

Mask: TypeAlias = npt.NDArray[np.bool_]

TRAINING_SEEDS = range(10_000_000)
HELD_OUT_SEEDS = range(10_000_000, 10_100_000)
"""Seeds for evaluation only: no training stage draws these scenes."""


@dataclass(frozen=True)
class SceneObject:
    """One drawn object. ``mask`` is bool[H, W]; ``box`` is (y0, x0, y1, x1) in 0..1."""

    kind: str
    color: str
    mask: Mask
    box: tuple[float, float, float, float]
    shape: Shape


@dataclass(frozen=True)
class Scene:
    """A painted scene. ``image`` is uint8[H, W, 3] RGB."""

    seed: int
    image: Pixels
    objects: tuple[SceneObject, ...]

    def matching(self, phrase: str) -> list[SceneObject]:
        """The objects that ``phrase`` names, from top to bottom, then from left to right: the order of the answer."""
        named = (item for item in self.objects if item.shape.is_named(phrase))
        return sorted(named, key=lambda item: item.shape.locations[:2])

    def ground_truth(self, prompt: str) -> list[tuple[str, SceneObject]]:
        """(label, object) pairs in the order of the answer, for a prompt like "segment red circle ; square"."""
        return [(phrase, item) for phrase in phrases(prompt) for item in self.matching(phrase)]


def phrases(prompt: str) -> list[str]:
    """The phrases of a prompt, one for each thing it asks for."""
    return read_prompt(prompt)


def draw_scene(seed: int, form: SceneForm = ORDINARY) -> Scene:
    """Lay out and paint the scene of ``seed`` at its own size."""
    layout = choose_layout(seed, form)
    objects = tuple(
        SceneObject(
            kind=shape.kind,
            color=shape.color,
            mask=coverage(shape.outlines, layout.width, layout.height) >= 0.5,
            box=shape.box,
            shape=shape,
        )
        for shape in layout.shapes
    )
    return Scene(seed, paint(layout, layout.width, layout.height), objects)
