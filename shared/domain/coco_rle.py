"""COCO run-length encoding of masks, without arrays.

A mask is read column by column, from the top left; `runs` are the lengths of the alternating stretches outside and
inside, starting with outside (which may be 0). COCO packs them into a short ASCII string (`maskApi.c`, rleToString):
from the fourth run on each is stored as the difference to the run two before it, in groups of five bits, low first; a
sixth bit says that more follow, and 48 is added to make it printable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_MORE = 0x20
_SIGN = 0x10


def runs_to_counts(runs: Sequence[int]) -> str:
    """Pack run lengths, int >= 0, into COCO's compressed string."""
    counts = bytearray()
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        while True:
            bits = rest & 0x1F
            rest >>= 5
            if rest == (-1 if bits & _SIGN else 0):
                counts.append(bits + 48)
                break
            counts.append((bits | _MORE) + 48)
    return counts.decode("ascii")


def counts_to_runs(counts: str) -> list[int]:
    """Unpack COCO's compressed string into run lengths. The inverse of `runs_to_counts`."""
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


def runs_to_bytes(runs: Iterable[int]) -> bytes:
    """Expand run lengths to one byte per pixel, column by column: 0 is outside, 255 inside."""
    return b"".join((b"\xff" if index % 2 else b"\x00") * run for index, run in enumerate(runs))
