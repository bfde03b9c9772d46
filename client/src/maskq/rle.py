"""COCO's compressed run lengths.

A mask is read column by column, from the top left. The runs are the lengths of the alternating stretches outside and
inside, beginning outside. From the fourth on, each is written as the difference to the run two before it, in groups of
five bits, low ones first; a sixth bit says that more follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskq.packages import require

if TYPE_CHECKING:
    import numpy
    import numpy.typing

_MORE = 0x20
_SIGN = 0x10


def decode(counts: str, height: int, width: int) -> numpy.typing.NDArray[numpy.bool_]:
    """The mask as bool[height, width], True inside.

    Raises:
        ValueError: these are not the run lengths of a mask of this size.
        MissingPackage: numpy is not installed.
    """
    np = require("numpy", "images")
    runs = np.array(_runs(counts), np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"these run lengths are not those of a mask of {height} x {width} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    mask: numpy.typing.NDArray[numpy.bool_] = np.repeat(inside, runs).reshape(width, height).T
    return np.ascontiguousarray(mask)  # type: ignore[no-any-return]


def _runs(counts: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode("ascii"):
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & _MORE:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
