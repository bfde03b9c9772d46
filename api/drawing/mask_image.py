"""Stored masks (COCO run lengths) as images, PNG files and row-major run lengths. Needs no NumPy."""

from __future__ import annotations

import io

from PIL import Image

from shared.domain.coco_rle import counts_to_runs, runs_to_bytes
from shared.domain.result import RleMask

_OUTSIDE, _INSIDE = b"\x00", b"\xff"


def mask_image(mask: RleMask) -> Image.Image:
    """Unpack a mask to an 8-bit grey image: 0 outside, 255 inside."""
    height, width = mask.size
    columns = Image.frombytes("L", (height, width), runs_to_bytes(counts_to_runs(mask.counts)))
    return columns.transpose(Image.Transpose.TRANSPOSE)


def mask_png(mask: RleMask) -> bytes:
    """A mask as a full-size 1-bit PNG: white inside, black outside."""
    file = io.BytesIO()
    mask_image(mask).convert("1", dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


def row_runs(mask: RleMask) -> list[int]:
    """Run lengths of a mask in pixels, outside, inside, outside ..., row by row. COCO's own go column by column."""
    pixels = mask_image(mask).tobytes()
    runs: list[int] = []
    position, sought = 0, _INSIDE
    while position < len(pixels):
        end = pixels.find(sought, position)
        end = end if end >= 0 else len(pixels)
        runs.append(end - position)
        position, sought = end, _OUTSIDE if sought == _INSIDE else _INSIDE
    return runs
