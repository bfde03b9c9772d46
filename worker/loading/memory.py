"""Checks, before a model is loaded, that its weights fit the memory."""

from __future__ import annotations

import torch

from shared.errors import CheckpointError
from worker.devices.accelerators import free_bytes
from worker.loading.ram import free_ram

_DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def check_memory(needed: int, device: torch.device, dtype: torch.dtype) -> None:
    """Raise now what would fail, or make the machine swap, minutes later. `needed` is the size of all weights in bytes.

    Raises:
        CheckpointError: the weights do not fit. The message says what to do.
    """
    on_device = free_bytes(device)
    free = free_ram() if on_device is None else on_device
    if needed > free:
        smaller = _smaller(device, dtype)
        raise CheckpointError(
            f"the weights take {needed / 1e9:.1f} GB in {_DTYPE_NAMES.get(dtype, dtype)} and {free / 1e9:.1f} GB are "
            f"free on {device}: serve a smaller checkpoint, {smaller}or use a larger device"
        )


def _smaller(device: torch.device, dtype: torch.dtype) -> str:
    """Settings with which the weights take less memory. A CPU has the whole model before it is quantized."""
    if dtype.itemsize > torch.bfloat16.itemsize:
        return "set MASKQ_DTYPE=bfloat16, "
    return "" if device.type == "cpu" else "set MASKQ_QUANTIZE=int8, "
