"""Answers as pictures: a green line runs around the truth outside, a magenta one around the answer inside."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from scipy.ndimage import binary_dilation, binary_erosion

from evaluation.example import Rle
from evaluation.predictions import Answer
from evaluation.scoring import Scored

MAX_TILES = 24
_TILE_PX = 240
_CAPTION_PX = 30
_COLUMNS = 6
_TRUTH, _ANSWER = (0, 230, 0), (255, 0, 255)
_LINE_PX = 3
_CAPTION_CHARS = 38

Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


def worst_first(scored: Sequence[Scored]) -> list[Scored]:
    """Questions by their mean IoU; naming what is not there is as bad as missing what is."""
    return sorted(scored, key=_quality)


def write_page(scored: Sequence[Scored], answers: Mapping[str, Answer], path: Path) -> None:
    """Write a PNG of the first `MAX_TILES` questions: their pictures with both masks, prompts and IoUs."""
    shown = scored[:MAX_TILES]
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
        image.thumbnail((_TILE_PX - 4, _TILE_PX - 4))
        pixels = np.array(image.convert("RGB"))
    found = answer.result.objects if answer.result else []
    for truth in each.question.truths:
        mask = _shrunk(truth.mask, pixels)
        pixels[binary_dilation(mask, iterations=_LINE_PX) & ~mask] = _TRUTH
    for one in found:
        if one.rle:
            mask = _shrunk(one.rle.model_dump(include={"size", "counts"}), pixels)
            pixels[mask & ~binary_erosion(mask, iterations=_LINE_PX)] = _ANSWER
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX + _CAPTION_PX), "white")
    tile.paste(Image.fromarray(pixels), (2, 2))
    ImageDraw.Draw(tile).text((4, _TILE_PX), _caption(each), fill="black")
    return tile


def _shrunk(mask: Rle, pixels: Pixels) -> Bools:
    """bool[H, W] of the size of `pixels`."""
    height, width = pixels.shape[:2]
    shrunk = Image.fromarray(coco.decode(mask) * 255).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(shrunk) > 127


def _caption(each: Scored) -> str:
    ious = " ".join(f"{one.iou:.2f}" for one in each.objects) or "nothing is there"
    caption = f"{each.question.prompt[:_CAPTION_CHARS]}\nIoU {ious[:_CAPTION_CHARS]}"
    return caption.encode("latin-1", "replace").decode("latin-1")  # all that Pillow's own font has
