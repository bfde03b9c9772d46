"""From a soft mask to run lengths without the pixels of the mask: only where its edge crosses each column is computed.

Pillow resizes in two passes, along rows and then along columns. Pillow itself does the first. Of the second pass only
the rows next to a crossing are computed, with exactly the arithmetic of `Resample.c` (double precision, rounded to
float32). Between two neighbouring samples of a column the weights change in one direction, so the sign changes at most
once. The edge is therefore, to the pixel, that of the whole mask after it is resized and compared with 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.domain.tiles import BoxXyxy

_Ints = npt.NDArray[np.int64]
_BITS = 5
_MAX_GROUPS = 8
"""Groups of five bits. Enough for every run in an image of less than 2^39 pixels."""


def soft_mask_runs(soft: npt.NDArray[np.float32], box: BoxXyxy, width: int, height: int) -> _Ints:
    """Run lengths, int64[N], of `soft` resized bilinearly to `box` and compared with 0, in an image of `width` x
    `height`.

    Column by column from the top left. The first run is outside and may be 0.
    """
    x0, y0, x1, y1 = box
    if y1 - y0 > soft.shape[0]:
        columns, rows = _crossings(resize(soft, x1 - x0, soft.shape[0]).T, y1 - y0)
    else:
        columns, rows = _steps(resize(soft, x1 - x0, y1 - y0).T > 0)
    edges = _without_pairs((columns + x0) * height + rows + y0)
    runs = np.diff(edges, prepend=0, append=width * height)
    return runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs


def resize(soft: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """float32[h, w] -> float32[height, width], bilinearly, as the protocol of big_vision does it."""
    return np.asarray(Image.fromarray(soft).resize((width, height), Image.Resampling.BILINEAR))


def runs_to_counts(runs: _Ints) -> str:
    """Pack run lengths into the string of COCO. `shared.domain.coco_rle.runs_to_counts` with NumPy: all runs at
    once."""
    steps = runs.copy()
    steps[3:] -= runs[1:-2]
    magnitude = np.where(steps < 0, ~steps, steps)[:, None]  # bits beside the sign
    more = magnitude >> (_BITS * np.arange(1, _MAX_GROUPS) - 1) != 0
    groups = steps[:, None] >> (_BITS * np.arange(_MAX_GROUPS)) & 0x1F
    groups[:, :-1] += more * 0x20
    used = np.pad(more, ((0, 0), (1, 0)), constant_values=True)
    return (groups[used] + 48).astype(np.uint8).tobytes().decode("ascii")


def _steps(inside: npt.NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
    """Where each column of bool[columns, rows] enters and leaves the mask, as (column, row), in order."""
    padded = np.pad(inside, ((0, 0), (1, 1)))
    columns, rows = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return columns, rows


def _crossings(samples: npt.NDArray[np.float32], height: int) -> tuple[_Ints, _Ints]:
    """As `_steps`, for float32[columns, n], n < height, after each column is resized to `height` and compared with
    0."""
    columns, steps = _steps(samples > 0)
    count = samples.shape[1]
    lower, weights = _column_weights(count, height)
    first_rows = np.searchsorted(lower, np.arange(count))  # the rows computed from sample j and the next one
    rows = np.where(steps == 0, 0, height)  # at the ends of a column the edge is the edge of the box
    between = (steps > 0) & (steps < count)
    upper = steps[between] - 1
    before, after = samples[columns[between], upper], samples[columns[between], upper + 1]

    def has_crossed(row: _Ints) -> npt.NDArray[np.bool_]:
        value = before * weights[0, row] + after * weights[1, row]
        return (value.astype(np.float32) > 0) == (after > 0)

    first, last = first_rows[upper], first_rows[upper + 1]
    share = before.astype(np.float64) / (before.astype(np.float64) - after)
    near = np.floor((upper + 0.5 + share) * height / count - 0.5).astype(np.int64)
    row = np.clip(near, first, last)
    for _ in range(2):  # one row from its floor to the next, one more if rounding took it a row too far up
        row += (row < last) & ~has_crossed(np.minimum(row, height - 1))
    rows[between] = row
    return columns, rows


def _column_weights(count: int, height: int) -> tuple[_Ints, npt.NDArray[np.float64]]:
    """For each of `height` rows: the first of its two samples among `count`, and the weights of both.

    The same as `precompute_coeffs` in Pillow's `Resample.c`, for a bilinear filter that enlarges.
    """
    center = (np.arange(height) + 0.5) * (count / height)
    lower = np.maximum((center - 0.5).astype(np.int64), 0)
    neighbours = lower + np.array([[0], [1]])
    weights = np.where(neighbours < count, np.maximum(0.0, 1.0 - np.abs(neighbours - center + 0.5)), 0.0)
    return lower, weights / (weights[0] + weights[1])


def _without_pairs(edges: _Ints) -> _Ints:
    """Remove pairs of equal values from sorted edges: a run of length 0, or one that continues in the next column."""
    starts = np.flatnonzero(np.diff(edges, prepend=-1))
    times = np.diff(starts, append=len(edges))
    return edges[starts[times % 2 == 1]]
