"""Claim-out scenes as questions: what the demo checkpoint is measured on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from evaluation.example import Question, Truth, mask_to_rle
from scenes.layout import COLOR_NAMES
from scenes.outlines import KINDS
from scenes.phrases import SceneNames, choose_phrases
from scenes.scene import HELD_OUT_SEEDS, Scene, draw_scene
from shared.domain.paligemma import SEPARATOR, write_prompt
from training.pool import MAX_OBJECTS, NO_OBJECT


def drawn_questions(scenes: int, first: int = 0) -> Iterator[Question]:
    """One question about each of `scenes` scenes from the held-out ones, about a fifth of them about absent things."""
    for seed in HELD_OUT_SEEDS[first : first + scenes]:
        scene = draw_scene(seed)
        phrases = choose_phrases(_names(scene), np.random.default_rng([seed, 2]))
        prompt = SEPARATOR.join(phrases)
        truths = [
            Truth(label, item.box, mask_to_rle(item.mask)) for label, item in scene.answers(write_prompt(phrases))
        ]
        yield Question(f"scene {seed}", prompt, partial(_png, seed), truths)


def _names(scene: Scene) -> SceneNames:
    kinds = np.full(MAX_OBJECTS, NO_OBJECT, dtype=np.int8)
    colors, boxes = kinds.copy(), np.zeros((MAX_OBJECTS, 4), dtype=np.float32)
    for index, item in enumerate(scene.objects):
        kinds[index], colors[index] = KINDS.index(item.kind), COLOR_NAMES.index(item.color)
        boxes[index] = item.box
    return SceneNames(kinds, colors, boxes)


def _png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_scene(seed).image).save(file, "PNG")
    return file.getvalue()
