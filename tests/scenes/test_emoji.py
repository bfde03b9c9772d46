"""Emoji have names that people know, and their masks are the pixels that their pictures cover."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from scenes.emoji import CHARACTERS, FONT, emoji
from scenes.layout import FORMS, choose_layout
from scenes.outlines import KINDS
from scenes.painting import paint
from scenes.phrases import SceneNames, choose_phrases
from scenes.scene import HELD_OUT_SEEDS, Scene, draw_scene
from scenes.vocabulary import COLORS, EMOJI
from testing.required import require_file

SEEDS = HELD_OUT_SEEDS[:40]
FORM = FORMS["emoji"]


@pytest.fixture(scope="module", autouse=True)
def font() -> None:
    require_file(FONT, "fonts-noto-color-emoji")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed, FORM) for seed in SEEDS]


def test_there_are_a_hundred_names_of_one_word_that_shapes_do_not_have() -> None:
    assert len(CHARACTERS) >= 100
    assert len(set(CHARACTERS.values())) == len(CHARACTERS)
    assert all(name.isalpha() and name.islower() for name in CHARACTERS)
    assert not set(CHARACTERS) & {*KINDS, *COLORS}


@pytest.mark.parametrize("name", CHARACTERS)
def test_the_font_has_a_picture_in_colours_for_each_name(name: str) -> None:
    found = emoji(name)
    opaque = found.picture[found.picture[..., 3] > 127][:, :3]
    assert (found.picture[..., 3] > 127).mean() > 0.15
    assert len(np.unique(opaque, axis=0)) > 8
    points = np.concatenate(found.outlines)
    assert np.abs(points).max() <= 1 + 1e-5
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)


def test_a_mask_is_where_painting_changed_the_background(scenes: list[Scene]) -> None:
    overlaps = []
    for scene in scenes:
        layout = choose_layout(scene.seed, FORM)
        background = paint(replace(layout, shapes=()), layout.width, layout.height)
        changed = np.abs(scene.image.astype(int) - background).max(axis=2) > 12
        mask = np.logical_or.reduce([item.mask for item in scene.objects])
        overlaps.append((mask & changed).sum() / (mask | changed).sum())
    assert np.mean(overlaps) > 0.95
    assert min(overlaps) > 0.8  # a part of the colour of the background does not change it


def test_a_picture_is_painted_where_its_outlines_are(scenes: list[Scene]) -> None:
    """Also at another size and aspect ratio, as the models see it."""
    for scene in scenes[:10]:
        small = paint(choose_layout(scene.seed, FORM), 224, 224)
        shrunk = cv2.resize(scene.image, (224, 224), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - shrunk).mean() < 4


def test_objects_do_not_share_pixels(scenes: list[Scene]) -> None:
    assert all(np.stack([item.mask for item in scene.objects]).sum(axis=0).max() == 1 for scene in scenes)


def test_some_pictures_are_mirrored() -> None:
    frames = [shape.frame for seed in SEEDS for shape in choose_layout(seed, FORM).shapes]
    mirrored = [frame[1, 0] < frame[0, 0] for frame in frames]
    assert 0.3 < np.mean(mirrored) < 0.7


def test_same_seed_gives_same_scene() -> None:
    first, second = draw_scene(SEEDS[0], FORM), draw_scene(SEEDS[0], FORM)
    assert np.array_equal(first.image, second.image)
    assert first.image.tobytes() != draw_scene(SEEDS[1], FORM).image.tobytes()


def test_an_emoji_is_found_by_its_name_alone(scenes: list[Scene]) -> None:
    for scene in scenes:
        for item in scene.objects:
            assert any(found is item for found in scene.matching(item.kind))
            assert scene.matching("") == scene.matching(f"red {item.kind}") == []


def test_about_a_fifth_of_the_phrases_name_nothing() -> None:
    kinds = np.array([3, 3, 7, -1, -1], dtype=np.int8)
    boxes = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    names = SceneNames(kinds, np.full(5, -1, dtype=np.int8), boxes, EMOJI)
    random = np.random.default_rng(0)
    asked = [choose_phrases(names, random, 0)[0] for _ in range(2_000)]
    present = {EMOJI.kinds[3], EMOJI.kinds[7]}
    assert 0.18 < np.mean([phrase not in present for phrase in asked]) < 0.26
    assert present < set(asked)
    assert len(names.matching(EMOJI.kinds[3])) == 2
