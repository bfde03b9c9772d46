"""Masks of single shapes, cropped to their box and resized to 64 x 64: the input of the mask VQ-VAE."""

import numpy as np
import numpy.typing as npt

from scenes.layout import SceneForm, choose_layout
from scenes.outlines import Points, extent
from scenes.painting import coverage

MASK_SIZE = 64


def crop_mask(outlines: tuple[Points, ...]) -> npt.NDArray[np.float32]:
    """float32[64, 64] in 0..1: the shape, stretched so that its box fills the mask."""
    low, high = extent(outlines)
    return coverage(tuple((outline - low) / (high - low) for outline in outlines), MASK_SIZE, MASK_SIZE)


def random_masks(first_seed: int, count: int, form: SceneForm) -> npt.NDArray[np.float32]:
    """float32[count, 64, 64] in 0..1: the objects of the scenes with seeds from ``first_seed`` on."""
    masks: list[npt.NDArray[np.float32]] = []
    seed = first_seed
    while len(masks) < count:
        masks += [crop_mask(shape.outlines) for shape in choose_layout(seed, form).shapes]
        seed += 1
    return np.stack(masks[:count])
