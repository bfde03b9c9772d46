"""Reads weights that are converted to another type, without their files in memory beside the result.

transformers maps files of weights into memory. If the type stays the same, the mapped pages are the weights, and
nothing is copied. If it changes, the pages stay in memory until the last weight has been converted: a model of 1.51 GB
in float32, stored in bfloat16, took 2.27 GB at the peak. Here it takes 2.06: the result, and one weight as it is
stored, the largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from worker.loading.weights import read_weights, weight_paths

_STORED = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@contextmanager
def unmapped_weights(folder: Path, dtype: torch.dtype) -> Iterator[dict[str, Any] | None]:
    """By name, what reads a weight from its file when it is indexed. None if no weight of the model in `folder` is
    converted to load it in `dtype`."""
    if {each.dtype for each in read_weights(folder).values()} == {_STORED[dtype]}:
        yield None
        return
    with ExitStack() as files:
        opened = [files.enter_context(safe_open(path, "pt", backend="pread")) for path in weight_paths(folder)]
        yield {name: file.get_slice(name) for file in opened for name in file.keys()}  # noqa: SIM118  not a mapping
