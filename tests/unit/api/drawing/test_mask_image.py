"""Stored masks as images, PNG files and row-major run lengths."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco

from api.drawing.mask_image import mask_image, mask_png, row_runs
from shared.domain.result import RleMask


def _some_masks() -> list[npt.NDArray[np.bool_]]:
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 9), (9, 1), (40, 30), (31, 65)]
    noise = [random.random(size) < share for size in sizes for share in (0.1, 0.5, 0.9)]
    return [*noise, np.zeros((5, 7), np.bool_), np.ones((5, 7), np.bool_)]


def _rle(mask: npt.NDArray[np.bool_]) -> RleMask:
    height, width = mask.shape
    return RleMask(
        size=(height, width), counts=coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    )


@pytest.mark.parametrize("mask", _some_masks())
def test_a_mask_is_unpacked_to_its_pixels(mask: npt.NDArray[np.bool_]) -> None:
    assert (np.asarray(mask_image(_rle(mask))) == np.where(mask, 255, 0)).all()


@pytest.mark.parametrize("mask", _some_masks())
def test_a_mask_png_has_one_bit_per_pixel(mask: npt.NDArray[np.bool_]) -> None:
    png = Image.open(io.BytesIO(mask_png(_rle(mask))))
    assert (png.format, png.mode) == ("PNG", "1")
    assert (np.asarray(png) == mask).all()


@pytest.mark.parametrize("mask", _some_masks())
def test_row_runs_describe_the_same_mask(mask: npt.NDArray[np.bool_]) -> None:
    runs = row_runs(_rle(mask))
    assert all(runs[1:])
    unrolled = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    assert (unrolled.reshape(mask.shape) == mask).all()
