"""Masks in image files of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from local.mask_file import read_masks

_INSIDE = np.zeros((6, 8), np.uint8)
_INSIDE[1:4, 2:7] = 1
_IMAGES: dict[str, tuple[Image.Image, int]] = {
    "0 and 1": (Image.fromarray(_INSIDE), 1),
    "0 and 255": (Image.fromarray(_INSIDE * 255), 255),
    "white, transparent outside": (Image.fromarray(np.stack([_INSIDE * 0 + 255, _INSIDE * 255], -1)), 255),
    "black, transparent outside": (Image.fromarray(np.stack([_INSIDE * 0, _INSIDE * 255], -1)), 255),
    "a colour, transparent outside": (
        Image.fromarray(np.dstack([_INSIDE * 90, _INSIDE * 20, _INSIDE * 5, _INSIDE * 255])),
        255,
    ),
    "white on black, opaque": (Image.fromarray(np.dstack([*[_INSIDE * 255] * 3, _INSIDE * 0 + 255])), 255),
    "probabilities": (Image.fromarray(_INSIDE * np.float32(0.6) + np.float32(0.1)), 1),
}


@pytest.mark.parametrize("name", _IMAGES)
def test_the_mask_is_found_in_an_image(name: str) -> None:
    image, number = _IMAGES[name]
    masks = read_masks(image)
    assert list(masks) == [number]
    assert (masks[number] == (_INSIDE > 0)).all()


def test_255_is_a_number_of_16_bits_like_those_beside_it() -> None:
    numbers = np.arange(250, 262, dtype=np.uint16).reshape(3, 4)
    assert list(read_masks(Image.fromarray(numbers))) == list(range(250, 262))
