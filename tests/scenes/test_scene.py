"""The same seed gives the same scene, and the names, boxes and masks of its objects match the pixels."""

import numpy as np
import pytest

from scenes.layout import lattice_location
from scenes.outlines import KINDS
from scenes.scene import HELD_OUT_SEEDS, TRAINING_SEEDS, Scene, draw_scene, phrases
from scenes.vocabulary import COLORS
from shared.domain.paligemma import LOCATION_SCALE

SEEDS = HELD_OUT_SEEDS[:60]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed) for seed in SEEDS]


def test_same_seed_gives_same_scene() -> None:
    first, second = draw_scene(HELD_OUT_SEEDS[7]), draw_scene(HELD_OUT_SEEDS[7])
    assert np.array_equal(first.image, second.image)
    assert [item.shape.locations for item in first.objects] == [item.shape.locations for item in second.objects]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first.objects, second.objects, strict=True))


def test_different_seeds_give_different_scenes() -> None:
    assert draw_scene(HELD_OUT_SEEDS[0]).image.tobytes() != draw_scene(HELD_OUT_SEEDS[1]).image.tobytes()


def test_held_out_scenes_are_never_training_scenes() -> None:
    assert TRAINING_SEEDS.stop <= HELD_OUT_SEEDS.start


def test_images_are_rgb_and_masks_have_their_size(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        assert scene.image.shape[2:] == (3,)
        assert 1 <= len(scene.objects) <= 5
        assert all(item.mask.shape == scene.image.shape[:2] for item in scene.objects)


def test_masks_fill_their_boxes(scenes: list[Scene]) -> None:
    for scene in scenes:
        for item in scene.objects:
            rows, columns = np.nonzero(item.mask)
            height, width = item.mask.shape
            drawn = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
            # A sharp tip covers less than half of its last pixels, so they are not in the mask.
            assert np.abs(drawn - np.array(item.box) * [height, width, height, width]).max() <= 4


def test_the_pixels_of_an_object_have_its_colour(scenes: list[Scene]) -> None:
    for scene in scenes:
        for item in scene.objects:
            inside = scene.image[item.mask].astype(np.float32)
            # The gradient across a shape is up to 32 levels in each direction.
            assert np.abs(np.median(inside, axis=0) - item.shape.rgb).max() <= 16


def test_objects_do_not_share_pixels(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.stack([item.mask for item in scene.objects]).sum(axis=0).max() == 1


def test_the_ring_shape_has_a_hole(scenes: list[Scene]) -> None:
    rings = [item for scene in scenes for item in scene.objects if item.kind == "ring"]
    assert rings
    for ring in rings:
        y0, x0, y1, x1 = ring.box
        height, width = ring.mask.shape
        assert not ring.mask[int((y0 + y1) / 2 * height), int((x0 + x1) / 2 * width)]


def test_every_kind_and_colour_is_drawn() -> None:
    drawn = [item for seed in HELD_OUT_SEEDS[:150] for item in draw_scene(seed).objects]
    assert {item.kind for item in drawn} == set(KINDS)
    assert {item.color for item in drawn} == set(COLORS)
    assert set(KINDS) == {"circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond"}
    assert set(COLORS) == {"red", "green", "blue", "yellow", "purple", "orange", "white", "black"}


def test_an_object_is_found_by_colour_and_kind_by_kind_and_by_colour(scenes: list[Scene]) -> None:
    for scene in scenes:
        for item in scene.objects:
            for phrase in (f"{item.color} {item.kind}", item.kind, item.color):
                assert any(found is item for found in scene.matching(phrase))


def test_matching_objects_are_sorted_from_top_to_bottom_then_from_left_to_right(scenes: list[Scene]) -> None:
    for scene in scenes:
        for word in (*KINDS, *COLORS):
            corners = [item.shape.locations[:2] for item in scene.matching(word)]
            assert corners == sorted(corners)


@pytest.mark.parametrize("phrase", ["zebra", "pink circle", "red circl", "circle red", ""])
def test_other_phrases_match_nothing(scenes: list[Scene], phrase: str) -> None:
    assert all(scene.matching(phrase) == [] for scene in scenes)


def test_the_ground_truth_is_in_the_order_of_the_phrases(scenes: list[Scene]) -> None:
    scene = next(scene for scene in scenes if len({item.kind for item in scene.objects}) > 1)
    one, other = scene.objects[0].kind, next(item.kind for item in scene.objects if item.kind != scene.objects[0].kind)
    labels = [label for label, _ in scene.ground_truth(f"segment {other} ; {one}")]
    assert labels == [other] * len(scene.matching(other)) + [one] * len(scene.matching(one))
    assert phrases(f"segment {other} ; {one}") == [other, one]


@pytest.mark.parametrize(("edge", "location"), [(0.0, 0), (1.0, LOCATION_SCALE), (0.5, 512), (0.003, 0), (0.005, 8)])
def test_locations_lie_on_the_lattice(edge: float, location: int) -> None:
    assert lattice_location(edge) == location
