"""Run lengths equal those of the mask that is resized as a whole, compared with 0, and packed by pycocotools."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from shared.domain import coco_rle
from shared.domain.tiles import BoxXyxy
from worker.stages.run_lengths import resize, runs_to_counts, soft_mask_runs

_Soft = npt.NDArray[np.float32]


def _expected_counts(soft: _Soft, box: BoxXyxy, width: int, height: int) -> str:
    x0, y0, x1, y1 = box
    full = np.zeros((height, width), np.uint8, order="F")
    full[y0:y1, x0:x1] = resize(soft, x1 - x0, y1 - y0) > 0
    counts: str = coco.encode(full)["counts"].decode()
    return counts


def _noise(seed: int) -> _Soft:
    return np.random.default_rng(seed).uniform(-1, 1, (64, 64)).astype(np.float32)


def _smooth(seed: int) -> _Soft:
    return resize(_noise(seed)[:6, :6], 64, 64)


def _flat(seed: int) -> _Soft:
    """With long parts of exactly 0, which are outside, and steps exactly at the samples."""
    return (np.round(_smooth(seed) * 2) / 2).astype(np.float32)


_BOXES: list[tuple[BoxXyxy, int, int]] = [
    ((0, 0, 400, 300), 400, 300),  # the whole image: runs join over column ends
    ((10, 0, 60, 300), 400, 300),  # whole columns
    ((7, 5, 307, 200), 400, 300),
    ((0, 0, 64, 64), 64, 64),  # nothing to resize
    ((1, 1, 66, 66), 67, 67),
    ((3, 2, 30, 290), 400, 300),  # shrunk across, enlarged down
    ((3, 2, 390, 30), 400, 300),  # shrunk down, enlarged across
    ((0, 0, 128, 192), 128, 192),  # whole multiples: samples fall on pixels or between them
    ((0, 0, 1, 1), 1, 1),
    ((5, 5, 6, 300), 400, 300),
    ((5, 5, 400, 6), 400, 300),
]


@pytest.mark.parametrize("make", [_noise, _smooth, _flat])
@pytest.mark.parametrize(("box", "width", "height"), _BOXES)
def test_runs_equal_those_of_the_resized_mask(
    make: Callable[[int], _Soft], box: BoxXyxy, width: int, height: int
) -> None:
    for seed in range(5):
        soft = make(seed)
        counts = runs_to_counts(soft_mask_runs(soft, box, width, height))
        assert counts == _expected_counts(soft, box, width, height)


@given(st.integers(0, 2**32), st.integers(1, 700), st.integers(1, 700), st.tuples(*[st.integers(0, 3)] * 4))
def test_runs_are_right_for_boxes_of_any_size(seed: int, width: int, height: int, margins: tuple[int, ...]) -> None:
    left, top, right, bottom = margins
    box = (left, top, left + width, top + height)
    size = left + width + right, top + height + bottom
    for soft in (_noise(seed), _smooth(seed)):
        assert runs_to_counts(soft_mask_runs(soft, box, *size)) == _expected_counts(soft, box, *size)


@pytest.mark.parametrize("height", [192, 448, 576])
def test_runs_are_right_if_the_edge_is_exactly_on_a_row(height: int) -> None:
    soft = (np.random.default_rng(0).integers(-4, 5, (64, 64)) / 4).astype(np.float32)
    box = (0, 0, 64, height)
    assert runs_to_counts(soft_mask_runs(soft, box, 64, height)) == _expected_counts(soft, box, 64, height)


def test_runs_are_right_at_twelve_megapixels() -> None:
    soft = _smooth(1)
    box = (0, 0, 4000, 3000)
    assert runs_to_counts(soft_mask_runs(soft, box, 4000, 3000)) == _expected_counts(soft, box, 4000, 3000)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_a_flat_mask_is_one_run(value: float) -> None:
    soft = np.full((64, 64), value, np.float32)
    runs = soft_mask_runs(soft, (0, 0, 100, 90), 100, 90)
    assert runs.tolist() == ([0, 9000] if value > 0 else [9000])


@given(st.lists(st.integers(0, 2**28), min_size=1, max_size=50))
def test_the_packed_string_equals_the_one_made_without_numpy(runs: list[int]) -> None:
    assert runs_to_counts(np.array(runs, np.int64)) == coco_rle.runs_to_counts(runs)


def test_pillow_resizes_along_rows_first() -> None:
    soft = _noise(0)
    half_way = Image.fromarray(resize(soft, 333, 64))
    again = np.asarray(half_way.resize((333, 222), Image.Resampling.BILINEAR))
    assert (again == resize(soft, 333, 222)).all()
