"""Collages of emoji: the data side of the recipe for a GPU. Needs the font of fonts-noto-color-emoji."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded
from training import collage as collage_module
from training.collage import LEAST_SEEN, Collage, ask, draw_collage
from training.emoji import NOTO, Emoji, emoji_kinds

pytestmark = pytest.mark.skipif(not NOTO.exists(), reason="fonts-noto-color-emoji is not installed")

_SEEDS = range(60)


@pytest.fixture(scope="module")
def kinds() -> tuple[Emoji, ...]:
    return emoji_kinds()


@pytest.fixture(scope="module")
def collages(kinds: tuple[Emoji, ...]) -> list[Collage]:
    return [draw_collage(seed, kinds) for seed in _SEEDS]


def test_there_are_many_kinds_each_with_a_name_of_its_own(kinds: tuple[Emoji, ...]) -> None:
    names = [kind.name for kind in kinds]
    assert len(names) == len(set(names)) >= 300
    assert {"cat", "red apple", "owl", "automobile"} <= set(names)


def test_the_same_seed_draws_the_same(kinds: tuple[Emoji, ...], collages: list[Collage]) -> None:
    again = draw_collage(_SEEDS[5], kinds)
    assert np.array_equal(again.image, collages[5].image)
    assert [thing.name for thing in again.things] == [thing.name for thing in collages[5].things]


def test_what_is_seen_belongs_to_one_thing_and_enough_of_each_is_seen(collages: list[Collage]) -> None:
    for collage in collages:
        assert np.stack([thing.mask for thing in collage.things]).sum(axis=0).max() == 1
        assert all(thing.mask.sum() > 100 for thing in collage.things)
        assert all(thing.mask.shape == collage.image.shape[:2] for thing in collage.things)


def test_a_thing_that_is_hidden_as_far_as_may_be_is_hidden_no_further() -> None:
    seen = np.zeros((200, 200), np.bool_)
    seen[40:160, 40:160] = True
    area = int(seen.sum() / LEAST_SEEN)  # the rest of it lies under other things already
    square = np.full((100, 100, 4), 255, np.uint8)
    placed = [
        collage_module._place(np.random.default_rng(seed), square, [seen], [area], (200, 200)) for seed in range(40)
    ]
    layers = [layer for layer in placed if layer is not None]
    assert len(layers) >= 5
    assert not any((seen & (layer[..., 3] > 127)).any() for layer in layers)


def test_things_overlap_come_in_twos_and_alone(collages: list[Collage], kinds: tuple[Emoji, ...]) -> None:
    counts = [len(collage.things) for collage in collages]
    assert min(counts) == 1
    assert max(counts) >= 5
    twins = [c for c in collages if len({thing.name for thing in c.things}) < len(c.things)]
    assert len(twins) >= 10
    holes = sum(_boxes_cross(collage) for collage in collages)
    assert holes >= 10


def _boxes_cross(collage: Collage) -> bool:
    boxes = [thing.box for thing in collage.things]
    pairs = [(a, b) for index, a in enumerate(boxes) for b in boxes[:index]]
    return any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a, b in pairs)


def test_a_mask_is_where_the_background_was_changed(kinds: tuple[Emoji, ...], tmp_path: Path) -> None:
    photograph = tmp_path / "photo.png"
    photograph.write_bytes(encoded(Image.new("RGB", (900, 700), (255, 0, 255))))  # a colour that hardly any emoji has
    drawn = [draw_collage(seed, kinds, [photograph]) for seed in range(20)]
    plain = [collage for collage in drawn if collage.image[0, 0].tolist() == [255, 0, 255]]
    assert len(plain) >= 5
    for collage in plain:
        changed = (collage.image != (255, 0, 255)).any(axis=-1)
        masked = np.logical_or.reduce([thing.mask for thing in collage.things])
        assert (changed & masked).sum() / (changed | masked).sum() > 0.85  # masks end where half of a pixel is covered


def test_matching_runs_from_the_top_down_then_from_the_left(collages: list[Collage]) -> None:
    for collage in collages:
        for name in {thing.name for thing in collage.things}:
            corners = [thing.box[:2] for thing in collage.matching(name)]
            assert corners == sorted(corners)
            assert corners


def test_about_a_fifth_of_the_questions_are_about_what_is_not_there(
    collages: list[Collage], kinds: tuple[Emoji, ...]
) -> None:
    random = np.random.default_rng(0)
    asked = [(collage, ask(collage, kinds, random)) for collage in collages for _ in range(10)]
    absent = [not collage.matching(name) for collage, name in asked]
    assert 0.14 < np.mean(absent) < 0.26


def test_photographs_are_backgrounds_if_there_are_any(kinds: tuple[Emoji, ...], tmp_path: Path) -> None:
    photograph = tmp_path / "photo.png"
    photograph.write_bytes(encoded(Image.new("RGB", (900, 700), (9, 200, 31))))
    corners = [draw_collage(seed, kinds, [photograph]).image[0, 0].tolist() for seed in range(30)]
    assert 10 <= corners.count([9, 200, 31]) <= 25
