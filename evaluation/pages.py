"""Answers as pictures: the truth is tinted green, the answer red, and where they agree it is yellow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from evaluation.answers import Answer
from evaluation.protocol import Scored
from evaluation.question import Rle

MOST_TILES = 24
_TILE_PX = 240
_CAPTION_PX = 30
_COLUMNS = 6
_TRUTH, _ANSWER = np.array([0.0, 200.0, 0.0]), np.array([230.0, 0.0, 0.0])
_OPACITY = 0.55
_CAPTION_CHARS = 38

Floats = npt.NDArray[np.float64]


def worst_first(scored: Sequence[Scored]) -> list[Scored]:
    """Questions by their mean IoU; naming what is not there is as bad as missing what is."""
    return sorted(scored, key=_quality)


def write_page(scored: Sequence[Scored], answers: Mapping[str, Answer], path: Path) -> None:
    """Write a PNG of the first `MOST_TILES` questions: their pictures with both masks, prompts and IoUs."""
    shown = scored[:MOST_TILES]
    rows = -(-len(shown) // _COLUMNS) or 1
    page = Image.new("RGB", (_COLUMNS * _TILE_PX, rows * (_TILE_PX + _CAPTION_PX)), "white")
    for index, each in enumerate(shown):
        row, column = divmod(index, _COLUMNS)
        tile = _tile(each, answers[each.question.id])
        page.paste(tile, (column * _TILE_PX, row * (_TILE_PX + _CAPTION_PX)))
    page.save(path, "PNG", optimize=True)


def _quality(each: Scored) -> float:
    """0..1; the sum of IoUs over all objects, true ones and extra ones."""
    count = len(each.objects) + each.extra
    return sum(found.iou for found in each.objects) / count if count else 1.0


def _tile(each: Scored, answer: Answer) -> Image.Image:
    """One question: its picture with both masks, and below it the prompt and how good the answer was."""
    with Image.open(io.BytesIO(each.question.read_image())) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    pixels = _tinted(pixels, [truth.mask for truth in each.question.truths], _TRUTH)
    found = answer.result.objects if answer.result else []
    pixels = _tinted(pixels, [one.rle.model_dump(include={"size", "counts"}) for one in found if one.rle], _ANSWER)
    shrunk = Image.fromarray(pixels.astype(np.uint8))
    shrunk.thumbnail((_TILE_PX - 4, _TILE_PX - 4))
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX + _CAPTION_PX), "white")
    tile.paste(shrunk, (2, 2))
    ious = " ".join(f"{one.iou:.2f}" for one in each.objects) or "nothing is there"
    caption = f"{each.question.prompt[:_CAPTION_CHARS]}\nIoU {ious}"[: 2 * _CAPTION_CHARS]
    # Pillow's own font: Latin letters only, which is why others are replaced.
    ImageDraw.Draw(tile).text((4, _TILE_PX), caption.encode("latin-1", "replace").decode("latin-1"), fill="black")
    return tile


def _tinted(pixels: Floats, masks: Sequence[Rle], color: Floats) -> Floats:
    """float64[H, W, 3] with `color` mixed in wherever a mask is."""
    inside = np.zeros(pixels.shape[:2], np.bool_)
    for mask in masks:
        inside |= coco.decode(mask) > 0
    return np.where(inside[..., None], (1 - _OPACITY) * pixels + _OPACITY * color, pixels)
