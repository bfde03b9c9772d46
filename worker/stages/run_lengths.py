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
"""Of each character of a packed string, beside the one that says whether more follow."""
_MORE = 1 << _BITS


def soft_mask_runs(soft: npt.NDArray[np.float32], box: BoxXyxy, width: int, height: int) -> _Ints:
    """Run lengths, int64[N], of `soft` resized bilinearly to `box` and compared with 0, in an image of `width` x
    `height`.

    Column by column from the top left. The first run is outside and may be 0.
    """
    x0, y0, x1, y1 = box
    if y1 - y0 > soft.shape[0]:
        columns, rows = _crossings(resize(soft, x1 - x0, soft.shape[0]).T, y1 - y0)
    else:
        columns, rows = steps_of(resize(soft, x1 - x0, y1 - y0).T > 0)
    return edges_to_runs((columns + x0) * height + rows + y0, width * height)


def edges_to_runs(edges: _Ints, total: int) -> _Ints:
    """Run lengths, int64[N], of `total` pixels. `edges` are the sorted places at which the mask is entered and left."""
    places = np.concatenate(([0], _without_pairs(edges), [total]))
    runs = places[1:] - places[:-1]
    return runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs


def resize(soft: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """float32[h, w] -> float32[height, width], bilinearly, as the protocol of big_vision does it."""
    return np.asarray(Image.fromarray(soft).resize((width, height), Image.Resampling.BILINEAR))


def runs_to_counts(runs: _Ints) -> str:
    """Pack run lengths into the string of COCO. `shared.domain.coco_rle.runs_to_counts` with NumPy: all runs at
    once."""
    steps = runs.copy()
    steps[3:] -= runs[1:-2]
    magnitude = steps ^ (steps >> 63)  # bits beside the sign
    groups = 1 + int(magnitude.max()).bit_length() // _BITS  # of the longest number
    shifts = _BITS * np.arange(groups)
    more = magnitude[:, None] >> (shifts[1:] - 1) != 0
    characters = (steps[:, None] >> shifts) & (_MORE - 1)
    characters[:, :-1] |= more * _MORE
    used = np.ones(characters.shape, np.bool_)
    used[:, 1:] = more
    return (characters[used] + 48).astype(np.uint8).tobytes().decode("ascii")


def steps_of(inside: npt.NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
    """Where each column of bool[columns, rows] enters and leaves the mask, as (column, row), in order."""
    columns, rows = inside.shape
    changes = np.empty((columns, rows + 1), np.bool_)
    changes[:, 0], changes[:, rows] = inside[:, 0], inside[:, -1]
    np.not_equal(inside[:, 1:], inside[:, :-1], out=changes[:, 1:rows])
    return np.divmod(np.flatnonzero(changes), rows + 1)


def _crossings(samples: npt.NDArray[np.float32], height: int) -> tuple[_Ints, _Ints]:
    """As `steps_of`, for float32[columns, n], n < height, after each column is resized to `height` and compared with
    0."""
    columns, steps = steps_of(samples > 0)
    count = samples.shape[1]
    first_rows = _first_rows(count, height)
    rows = np.where(steps == 0, 0, height)  # at the ends of a column the edge is the edge of the box
    between = (steps > 0) & (steps < count)
    upper = steps[between] - 1
    before, after = samples[columns[between], upper], samples[columns[between], upper + 1]

    def has_crossed(row: _Ints) -> npt.NDArray[np.bool_]:
        first, second = _weights(upper, row, count / height)
        return ((before * first + after * second).astype(np.float32) > 0) == (after > 0)

    first, last = first_rows[upper], first_rows[upper + 1]
    share = before.astype(np.float64) / (before.astype(np.float64) - after)
    near = np.floor((upper + 0.5 + share) * height / count - 0.5).astype(np.int64)
    row = np.clip(near, first, last)
    for _ in range(2):  # one row from its floor to the next, one more if rounding took it a row too far up
        row += (row < last) & ~has_crossed(np.minimum(row, height - 1))
    rows[between] = row
    return columns, rows


def _first_rows(count: int, height: int) -> _Ints:
    """For each of `count` samples, the first of `height` rows that is computed from it and the next one."""
    center = (np.arange(height) + 0.5) * (count / height)
    return np.searchsorted((center - 0.5).astype(np.int64), np.arange(count))


def _weights(upper: _Ints, row: _Ints, scale: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The weights of the samples `upper` and `upper` + 1 in a row that is computed from them. `scale` is the number of
    samples per row, less than 1.

    The same as `precompute_coeffs` in Pillow's `Resample.c`, for a bilinear filter that enlarges.
    """
    center = (row + 0.5) * scale
    first = np.maximum(0.0, 1.0 - np.abs(upper - center + 0.5))
    second = np.maximum(0.0, 1.0 - np.abs(upper + 1 - center + 0.5))
    total = first + second
    return first / total, second / total


def _without_pairs(edges: _Ints) -> _Ints:
    """Remove pairs of equal values from sorted edges: a run of length 0, or one that continues in the next column."""
    if (edges[1:] != edges[:-1]).all():
        return edges
    starts = np.flatnonzero(np.diff(edges, prepend=-1))
    times = np.diff(starts, append=len(edges))
    return edges[starts[times % 2 == 1]]
