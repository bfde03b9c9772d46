"""Held-out scenes as examples: the evaluation data of the demo checkpoint."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from evaluation.example import Example, TrueObject, mask_to_rle
from scenes.layout import COLOR_NAMES, MAX_OBJECTS, ORDINARY, SceneForm
from scenes.outlines import KINDS
from scenes.phrases import NO_OBJECT, SceneNames, choose_phrases
from scenes.scene import HELD_OUT_SEEDS, Scene, draw_scene
from shared.domain.paligemma import SEPARATOR, write_prompt


def scene_examples(count: int, first: int = 0, form: SceneForm = ORDINARY) -> Iterator[Example]:
    """Yield one example for each of `count` held-out scenes of this form, starting at number `first`.

    In about a fifth of them, the prompt names nothing in the scene.
    """
    for seed in HELD_OUT_SEEDS[first : first + count]:
        scene = draw_scene(seed, form)
        phrases = choose_phrases(_names(scene), np.random.default_rng([seed, 2]))
        prompt = SEPARATOR.join(phrases)
        found = scene.ground_truth(write_prompt(phrases))
        ground_truth = [TrueObject(label, item.box, mask_to_rle(item.mask)) for label, item in found]
        yield Example(f"scene {seed}", prompt, partial(_png, seed, form), ground_truth)


def _names(scene: Scene) -> SceneNames:
    kinds = np.full(MAX_OBJECTS, NO_OBJECT, dtype=np.int8)
    colors, boxes = kinds.copy(), np.zeros((MAX_OBJECTS, 4), dtype=np.float32)
    for index, item in enumerate(scene.objects):
        kinds[index], colors[index] = KINDS.index(item.kind), COLOR_NAMES.index(item.color)
        boxes[index] = item.box
    return SceneNames(kinds, colors, boxes)


def _png(seed: int, form: SceneForm) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_scene(seed, form).image).save(file, "PNG")
    return file.getvalue()
