"""An example: an image, a prompt, and the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Rle: TypeAlias = dict[str, Any]
"""`{"size": [height, width], "counts": ...}`, the format of pycocotools."""
Box: TypeAlias = tuple[float, float, float, float]
"""y0, x0, y1, x1 in 0..1 of the image."""


class DataError(Exception):
    """A data set, or a file of predictions, is not in the expected format. The message says what is wrong."""


@dataclass(frozen=True)
class TrueObject:
    """One object of the ground truth."""

    label: str
    box: Box
    mask: Rle


@dataclass(frozen=True)
class Example:
    """A prompt about an image, and every object that it names."""

    id: str
    """Unique within the data set, and the same in every run."""
    prompt: str
    """As a client sends it."""
    read_image: Callable[[], bytes]
    """Returns the encoded image file."""
    ground_truth: Sequence[TrueObject]
    refers_to_one: bool = False
    """The prompt is a referring expression: only the first predicted object counts, whatever its label."""


def mask_to_rle(mask: npt.NDArray[np.bool_]) -> Rle:
    """bool[H, W] -> run lengths."""
    rle: Rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return rle


def file_within(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in `folder`.

    Raises:
        DataError: the file is missing, or lies outside the folder. Other files of this machine must not be sent to a
            service.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise DataError(f"{name} is not a file in {folder}")
    return path
