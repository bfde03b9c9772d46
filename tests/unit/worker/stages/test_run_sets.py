"""Set operations on run lengths give what pycocotools gives."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from shared.domain.coco_rle import counts_to_runs
from shared.domain.tiles import BoxXyxy
from worker.stages.run_lengths import runs_to_counts
from worker.stages.run_sets import Ints, area, box_runs, intersection, union


def _masks(seed: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 30, 2)
    return [random.random((height, width)) < random.choice([0.0, 0.1, 0.5, 0.9, 1.0]) for _ in range(2)]


def _runs(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Ints:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return np.array(counts_to_runs(rle["counts"].decode()), np.int64)


@pytest.mark.parametrize("seed", range(80))
def test_intersection_and_union_equal_those_of_the_pixels(seed: int) -> None:
    one, other = _masks(seed)
    for combine, pixels in ((intersection, one & other), (union, one | other)):
        runs = combine(_runs(one), _runs(other))
        assert runs_to_counts(runs) == runs_to_counts(_runs(pixels))
        assert area(runs) == pixels.sum()


@pytest.mark.parametrize(
    "box", [(0, 0, 7, 5), (0, 0, 1, 1), (6, 4, 7, 5), (2, 0, 4, 5), (0, 1, 7, 4), (3, 0, 7, 5), (2, 1, 5, 5)]
)
def test_a_box_has_its_pixels(box: BoxXyxy) -> None:
    pixels = np.zeros((5, 7), np.bool_)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = True
    assert runs_to_counts(box_runs(box, 7, 5)) == runs_to_counts(_runs(pixels))
