"""Reads the headers of safetensors files: names, types and shapes of weights, without the weights.

The format: 8 bytes with the length of the header, the header as JSON, then the data of all tensors
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import CheckpointError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_GIT_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a file describes it."""

    dtype: str
    """`F32`, `BF16`, `U8` and so on."""
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_weights(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a model by name, from `model.safetensors` or from the files that its index names.

    Raises:
        CheckpointError: there is no such file, one of several is missing, or one is incomplete. The message says what
            to do.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in weight_paths(folder):
        tensors |= read_header(path)
    return tensors


def weight_paths(folder: Path) -> list[Path]:
    """The files of a model's weights.

    Raises:
        CheckpointError: as `read_weights`, before any file is read.
    """
    index = folder / INDEX
    if not index.exists():
        return [folder / WEIGHTS]
    names = _indexed_names(index)
    if missing := [name for name in names if not (folder / name).exists()]:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise CheckpointError(
            f"{folder} is incomplete: {INDEX} names {shown}, which is not there; copy the missing files, or save the "
            "model again"
        )
    if (folder / WEIGHTS).exists() and WEIGHTS not in names:
        raise CheckpointError(
            f"{folder} has {WEIGHTS} as well as {INDEX}, so it has the weights of two models: delete one of them"
        )
    return [folder / name for name in names]


def _indexed_names(index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{index} is not an index of weights: copy it again, or save the model again") from None
    if not names:
        raise CheckpointError(f"{index} names no files: copy it again, or save the model again")
    return names


def read_header(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a file by name.

    Raises:
        CheckpointError: it is not a safetensors file, or its end is missing.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(_LENGTH_BYTES)
        length = int.from_bytes(begin, "little")
        header = file.read(length) if length <= min(size, _MAX_HEADER_BYTES) else b""
        begin += b"" if header else file.read(len(_GIT_LFS_POINTER))
    if begin.startswith(_GIT_LFS_POINTER):
        raise CheckpointError(f"{path} is a pointer of Git LFS, not the file: run `git lfs pull` in {path.parent}")
    tensors = _parsed(path, header)
    expected = _LENGTH_BYTES + length + max((int(each["data_offsets"][1]) for each in tensors.values()), default=0)
    if size < expected:
        raise CheckpointError(f"{path} is incomplete: it has {size} bytes of {expected}; copy it again")
    return {name: StoredTensor(each["dtype"], tuple(each["shape"])) for name, each in tensors.items()}


def _parsed(path: Path, header: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(header)
        return {name: each for name, each in parsed.items() if name != "__metadata__"}
    except (ValueError, AttributeError):
        raise CheckpointError(
            f"{path} is not a safetensors file, or only a part of one: copy it again, or save the model again"
        ) from None
