"""A prediction for Label Studio (labelstud.io/guide/predictions), with a brush label for each mask.

Unless a client names its own, the tags have the names of Label Studio's template for masks:
`<BrushLabels name="tag" toName="image">`. A brush label
is an RGBA picture, packed by thi.ng's `rle-pack`: a head with the number of bytes and the bit widths used below, then
each run of equal bytes as the bit 1, the index of the width of its length, its length minus 1, and the byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from api.drawing.mask_image import row_runs
from api.formats.labels import rest_of
from shared.domain.job import Job
from shared.domain.result import RleMask, SegmentationResult, SegmentedObject

_CHANNELS = 4
_WORD_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_MAX_LENGTH = 2 ** _LENGTH_BITS[-1]


@dataclass(frozen=True)
class ControlTags:
    """The names of the tags in the labeling configuration of a project. A prediction with others is not shown."""

    from_name: str = "tag"
    """Name of the `BrushLabels`."""
    to_name: str = "image"
    """Name of the `Image`."""


def labelstudio_document(job: Job, result: SegmentationResult, tags: ControlTags) -> dict[str, Any]:
    """One prediction, for the task of the image. Objects without masks are not in `result` but in `skipped`."""
    rest = rest_of(result)
    rest["skipped"] += [{"reason": "no_mask", "text": found.label} for found in result.objects if not found.rle]
    masks = [(found, found.rle, number) for number, found in enumerate(result.objects) if found.rle]
    scores = [found.score for found, _, _ in masks]
    return {
        "model_version": job.request.model_id,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "result": [_brush_label(found, mask, f"{job.id}-{number}", tags) for found, mask, number in masks],
        **rest,
    }


def _brush_label(found: SegmentedObject, mask: RleMask, region_id: str, tags: ControlTags) -> dict[str, Any]:
    height, width = mask.size
    return {
        "id": region_id,
        "type": "brushlabels",
        "from_name": tags.from_name,
        "to_name": tags.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": found.score,
        "value": {"format": "rle", "rle": list(_pack(row_runs(mask))), "brushlabels": [found.name]},
    }


def _pack(runs: list[int]) -> bytes:
    """Row-major run lengths of a mask (outside, inside, outside ...) -> `rle-pack` of its RGBA picture."""
    head = f"{sum(runs) * _CHANNELS:032b}{_WORD_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _LENGTH_BITS)
    values = (0xFF if index % 2 else 0 for index in range(len(runs)))
    bits = head + "".join(_run(run * _CHANNELS, value) for run, value in zip(runs, values, strict=True))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _run(length: int, value: int) -> str:
    """The bits of `length` equal bytes, in several parts if there are more than `_MAX_LENGTH`."""
    parts = [*range(0, length, _MAX_LENGTH), length]
    return "".join(_part(end - begin, value) for begin, end in pairwise(parts))


def _part(length: int, value: int) -> str:
    which = next(index for index, bits in enumerate(_LENGTH_BITS) if length <= 2**bits)
    return f"1{which:02b}{length - 1:0{_LENGTH_BITS[which]}b}{value:0{_WORD_BITS}b}"
