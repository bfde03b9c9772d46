"""Regions with a brush label, as predictions for Label Studio have them (labelstud.io/guide/predictions).

A brush label is an RGBA picture, packed by thi.ng's `rle-pack`: a head with the number of bytes and the bit widths used
below, then each run of equal bytes as the bit 1, the index of the width of its length, its length minus 1, and the
byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

_CHANNELS = 4
_WORD_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_MAX_LENGTH = 2 ** _LENGTH_BITS[-1]


class ControlTags(BaseModel):
    """The names of the tags in the labeling configuration of a project. A prediction with others is not shown. The
    defaults are those of Label Studio's template for masks."""

    model_config = ConfigDict(frozen=True)

    from_name: str = "tag"
    """Name of the `BrushLabels`."""
    to_name: str = "image"
    """Name of the `Image`."""

    def with_names(self, from_name: str | None, to_name: str | None) -> Self:
        """The same with the names that are given."""
        given = {"from_name": from_name, "to_name": to_name}
        return self.model_copy(update={tag: name for tag, name in given.items() if name})


class BrushValue(BaseModel):
    """The pixels of a region and its label."""

    model_config = ConfigDict(frozen=True)

    format: Literal["rle"] = "rle"
    rle: list[int]
    """Bytes of `rle-pack`."""
    brushlabels: list[str] = []


class BrushRegion(BaseModel):
    """One region of a prediction."""

    model_config = ConfigDict(frozen=True)

    id: str = ""
    type: Literal["brushlabels"] = "brushlabels"
    from_name: str = ""
    to_name: str = ""
    original_width: int
    original_height: int
    image_rotation: Literal[0] = 0
    score: float = 0.0
    value: BrushValue

    @classmethod
    def of(cls, row_runs: Sequence[int], width: int, height: int) -> Self:
        """The region of a mask, without names.

        Args:
            row_runs: run lengths in pixels, outside, inside, outside ..., row by row.
            width, height: of the image, in pixels.
        """
        return cls(original_width=width, original_height=height, value=BrushValue(rle=list(_pack(row_runs))))

    def named(self, region_id: str, label: str, score: float, tags: ControlTags) -> Self:
        """The same with what it says beside the mask."""
        value = self.value.model_copy(update={"brushlabels": [label]})
        return self.model_copy(update={"id": region_id, **dict(tags), "score": score, "value": value})


def _pack(row_runs: Sequence[int]) -> bytes:
    """`rle-pack` of the RGBA picture of a mask."""
    head = f"{sum(row_runs) * _CHANNELS:032b}{_WORD_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _LENGTH_BITS)
    values = (0xFF if index % 2 else 0 for index in range(len(row_runs)))
    bits = head + "".join(_run(run * _CHANNELS, value) for run, value in zip(row_runs, values, strict=True))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _run(length: int, value: int) -> str:
    """The bits of `length` equal bytes, in several parts if there are more than `_MAX_LENGTH`."""
    parts = [*range(0, length, _MAX_LENGTH), length]
    return "".join(_part(end - begin, value) for begin, end in pairwise(parts))


def _part(length: int, value: int) -> str:
    which = next(index for index, bits in enumerate(_LENGTH_BITS) if length <= 2**bits)
    return f"1{which:02b}{length - 1:0{_LENGTH_BITS[which]}b}{value:0{_WORD_BITS}b}"
