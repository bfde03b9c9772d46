"""Checks, before a model is loaded, that its weights fit the memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from shared.errors import CheckpointError

_DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def check_memory(elements: int, device: torch.device, dtype: torch.dtype) -> None:
    """Raise now what would fail, or make the machine swap, minutes later. `elements` are those of all weights.

    Raises:
        CheckpointError: the weights do not fit. The message says what to do.
    """
    needed = elements * dtype.itemsize
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_ram()
    if needed > free:
        smaller = "set MASKQ_DTYPE=bfloat16, " if dtype.itemsize > torch.bfloat16.itemsize else ""
        raise CheckpointError(
            f"the weights take {needed / 1e9:.1f} GB in {_DTYPE_NAMES.get(dtype, dtype)} and {free / 1e9:.1f} GB are "
            f"free on {device}: serve a smaller checkpoint, {smaller}or use a larger device"
        )


def free_ram() -> int:
    """Bytes of RAM that are available without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
