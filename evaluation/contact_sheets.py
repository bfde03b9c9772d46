"""Predictions as images. A green line outside marks the ground truth; a magenta line inside marks the prediction."""

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
from evaluation.predictions import Prediction
from evaluation.scoring import ExampleScore

MAX_TILES = 24
_TILE_PX = 240
_CAPTION_PX = 30
_COLUMNS = 6
_TRUE_COLOR, _PREDICTED_COLOR = (0, 230, 0), (255, 0, 255)
_LINE_PX = 3
_CAPTION_CHARS = 38

Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


def worst_first(scores: Sequence[ExampleScore]) -> list[ExampleScore]:
    """Sort by mean IoU, lowest first. An extra object counts like a missing one."""
    return sorted(scores, key=_mean_iou)


def write_contact_sheet(scores: Sequence[ExampleScore], predictions: Mapping[str, Prediction], path: Path) -> None:
    """Write a PNG of the first `MAX_TILES` examples: images with both masks, prompts and IoUs."""
    shown = scores[:MAX_TILES]
    rows = -(-len(shown) // _COLUMNS) or 1
    sheet = Image.new("RGB", (_COLUMNS * _TILE_PX, rows * (_TILE_PX + _CAPTION_PX)), "white")
    for index, each in enumerate(shown):
        row, column = divmod(index, _COLUMNS)
        tile = _tile(each, predictions[each.example.id])
        sheet.paste(tile, (column * _TILE_PX, row * (_TILE_PX + _CAPTION_PX)))
    sheet.save(path, "PNG", optimize=True)


def _mean_iou(each: ExampleScore) -> float:
    """0..1: mean IoU over true objects and extra ones. 1 without any."""
    count = len(each.objects) + each.extra
    return sum(found.iou for found in each.objects) / count if count else 1.0


def _tile(each: ExampleScore, prediction: Prediction) -> Image.Image:
    """One example: its image with both masks, and below it the prompt and the IoUs."""
    with Image.open(io.BytesIO(each.example.read_image())) as image:
        image.thumbnail((_TILE_PX - 4, _TILE_PX - 4))
        pixels = np.array(image.convert("RGB"))
    predicted = prediction.result.objects if prediction.result else []
    for truth in each.example.ground_truth:
        mask = _resized(truth.mask, pixels)
        pixels[binary_dilation(mask, iterations=_LINE_PX) & ~mask] = _TRUE_COLOR
    for one in predicted:
        if one.rle:
            mask = _resized(one.rle.model_dump(include={"size", "counts"}), pixels)
            pixels[mask & ~binary_erosion(mask, iterations=_LINE_PX)] = _PREDICTED_COLOR
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX + _CAPTION_PX), "white")
    tile.paste(Image.fromarray(pixels), (2, 2))
    ImageDraw.Draw(tile).text((4, _TILE_PX), _caption(each), fill="black")
    return tile


def _resized(mask: Rle, pixels: Pixels) -> Bools:
    """The mask as bool[H, W], resized to the size of `pixels`."""
    height, width = pixels.shape[:2]
    resized = Image.fromarray(coco.decode(mask) * 255).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized) > 127


def _caption(each: ExampleScore) -> str:
    ious = " ".join(f"{one.iou:.2f}" for one in each.objects) or "no object"
    caption = f"{each.example.prompt[:_CAPTION_CHARS]}\nIoU {ious[:_CAPTION_CHARS]}"
    return caption.encode("latin-1", "replace").decode("latin-1")  # Pillow's built-in font has no other characters
