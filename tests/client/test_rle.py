"""Run lengths become the mask that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from maskq import rle
from pycocotools import mask as coco


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_every_mask_is_what_pycocotools_makes_of_it(mask: np.ndarray) -> None:
    counts = coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    decoded = rle.decode(counts, *mask.shape)
    assert decoded.dtype == bool
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("counts", ["", "5", "Wo21h0", "o0"])
def test_run_lengths_of_another_size_are_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="2 x 2"):
        rle.decode(counts, 2, 2)
