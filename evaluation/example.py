"""What is asked, and what the right answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Rle: TypeAlias = dict[str, Any]
"""`{"size": [height, width], "counts": ...}` as pycocotools takes it."""
Box: TypeAlias = tuple[float, float, float, float]
"""y0, x0, y1, x1 in 0..1 of the image."""


class DataError(Exception):
    """A data set is not in the format it should be in. The message says what is wrong."""


@dataclass(frozen=True)
class Truth:
    """One object that is really there."""

    label: str
    box: Box
    mask: Rle


@dataclass(frozen=True)
class Question:
    """A prompt about an image, and every object that it names."""

    id: str
    """The same in every run, and different for every question of a data set."""
    prompt: str
    """As a client sends it."""
    read_image: Callable[[], bytes]
    truths: Sequence[Truth]
    refers_to_one: bool = False
    """A referring expression: only the first object of the answer counts, whatever its label."""


def mask_to_rle(mask: npt.NDArray[np.bool_]) -> Rle:
    """bool[H, W] -> run lengths."""
    rle: Rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return rle


def file_within(folder: Path, name: str) -> Path:
    """The file `name` of `folder`.

    Raises:
        DataError: it lies outside, which would send files of this machine to a service, or it is missing.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise DataError(f"{name} is not a file in {folder}")
    return path
