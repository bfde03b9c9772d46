"""Held-out scenes as examples: the evaluation data of the checkpoints that this project trains."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from evaluation.example import Example, TrueObject, mask_to_rle
from scenes.layout import MAX_OBJECTS, ORDINARY, SceneForm
from scenes.phrases import NO_OBJECT, SceneNames, choose_phrases
from scenes.scene import HELD_OUT_SEEDS, Scene, draw_scene
from scenes.vocabulary import Vocabulary
from shared.domain.paligemma import SEPARATOR, write_prompt


def scene_examples(count: int, first: int = 0, form: SceneForm = ORDINARY) -> Iterator[Example]:
    """Yield one example for each of `count` held-out scenes of this form, starting at number `first`.

    In about a fifth of them, the prompt names nothing in the scene.
    """
    for seed in HELD_OUT_SEEDS[first : first + count]:
        scene = draw_scene(seed, form)
        phrases = choose_phrases(_names(scene, form.vocabulary), np.random.default_rng([seed, 2]))
        prompt = SEPARATOR.join(phrases)
        found = scene.ground_truth(write_prompt(phrases))
        ground_truth = [TrueObject(label, item.box, mask_to_rle(item.mask)) for label, item in found]
        yield Example(f"scene {seed}", prompt, partial(_png, seed, form), ground_truth)


def _names(scene: Scene, vocabulary: Vocabulary) -> SceneNames:
    kinds = np.full(MAX_OBJECTS, NO_OBJECT, dtype=np.int8)
    colors, boxes = kinds.copy(), np.zeros((MAX_OBJECTS, 4), dtype=np.float32)
    for index, item in enumerate(scene.objects):
        kinds[index], colors[index] = vocabulary.indices(item.color, item.kind)
        boxes[index] = item.box
    return SceneNames(kinds, colors, boxes, vocabulary)


def _png(seed: int, form: SceneForm) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_scene(seed, form).image).save(file, "PNG")
    return file.getvalue()
