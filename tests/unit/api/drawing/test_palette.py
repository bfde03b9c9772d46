"""Colours of neighbouring objects, with and without red-green blindness."""

import itertools

import cv2
import numpy as np
import pytest
from PIL import ImageColor

from api.drawing.palette import PALETTE, BoxXyxy, Rgb, colors_of, oklab, relative_luminance, text_color_on

_DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
_PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
"""On linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009, severity 1."""
_CLEARLY_DIFFERENT = 15
"""In CIE76; 2.3 is the smallest difference that most people notice."""
_GREY = (128.0, 128.0, 128.0)


@pytest.mark.parametrize("vision", [np.eye(3), _DEUTERANOPIA, _PROTANOPIA], ids=["usual", "deuteranopia", "protanopia"])
def test_any_two_colors_differ_with_and_without_color_blindness(vision: object) -> None:
    for one, other in itertools.combinations(PALETTE, 2):
        assert np.linalg.norm(_lab(one, vision) - _lab(other, vision)) > _CLEARLY_DIFFERENT, (one, other)


def _lab(color: str, vision: object) -> np.ndarray:
    srgb = np.array(ImageColor.getrgb(color)) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(vision) @ linear, 0, 1).astype(np.float32)
    return np.asarray(cv2.cvtColor(seen[None, None], cv2.COLOR_LRGB2Lab)[0, 0])


def test_neighbours_have_different_colors() -> None:
    random = np.random.default_rng(0)
    corners = random.integers(0, 900, (40, 2))
    boxes: list[BoxXyxy] = [(int(x), int(y), int(x) + 60, int(y) + 60) for x, y in corners]
    colors = colors_of(boxes, [_GREY] * 40, margin=10)
    for (one, color), (other, another) in itertools.combinations(zip(boxes, colors, strict=True), 2):
        if abs(one[0] - other[0]) < 70 and abs(one[1] - other[1]) < 70:
            assert color != another


@pytest.mark.parametrize("mean", [_GREY, *map(ImageColor.getrgb, PALETTE)])
def test_seven_objects_in_one_place_have_seven_colors_and_more_share_evenly(mean: Rgb) -> None:
    box = (0, 0, 10, 10)
    assert len(set(colors_of([box] * 7, [mean] * 7, margin=0))) == 7
    colors = colors_of([box] * 21, [mean] * 21, margin=0)
    assert {colors.count(color) for color in PALETTE} == {3}


@pytest.mark.parametrize("ground", [*PALETTE, "#ff0000", "#00ff00", "#0000ff", "black", "white", "gray"])
def test_a_color_differs_from_what_lies_under_it(ground: str) -> None:
    (color,) = colors_of([(0, 0, 9, 9)], [ImageColor.getrgb(ground)[:3]], margin=0)
    assert np.linalg.norm(np.subtract(oklab(ImageColor.getrgb(color)[:3]), oklab(ImageColor.getrgb(ground)[:3]))) > 0.25


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (0.6280, 0.2249, 0.1258)),
        ((0, 255, 0), (0.8664, -0.2339, 0.1795)),
        ((0, 0, 255), (0.4520, -0.0324, -0.3115)),
    ],
)
def test_oklab_has_the_published_values(rgb: Rgb, lab: tuple[float, float, float]) -> None:
    assert oklab(rgb) == pytest.approx(lab, abs=5e-4)


@pytest.mark.parametrize("color", PALETTE)
def test_text_is_readable_on_every_color(color: str) -> None:
    plate, text = relative_luminance(color), relative_luminance(text_color_on(color))
    assert (max(plate, text) + 0.05) / (min(plate, text) + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
