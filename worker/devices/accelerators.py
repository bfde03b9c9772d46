"""What PyTorch says about the devices of this process, in the same way for each kind.

Calls that only CUDA has are in `worker.engine.cuda_graphs` and `worker.engine.host_copy`, behind a check of the kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from shared.errors import CheckpointError

KINDS = ("cuda", "xpu", "mps")
"""Kinds of devices beside the CPU in the order of preference: GPUs of NVIDIA (and of AMD, which PyTorch calls the
same), of Intel, and of Apple."""


def usable(kind: str) -> int:
    """Number of devices of this kind that PyTorch can use. On CUDA this fixes which GPUs the process sees."""
    module = torch.get_device_module(kind)
    return int(module.device_count()) if module.is_available() else 0


def choose_device(setting: str) -> torch.device:
    """The device that MASKQ_DEVICE names. `auto` is the first device of the first kind that there is, else the CPU.

    Raises:
        CheckpointError: PyTorch does not see it.
    """
    if setting == "auto":
        return torch.device(next((kind for kind in KINDS if usable(kind)), "cpu"))
    device = torch.device(setting)
    if device.type != "cpu" and (device.index or 0) >= usable(device.type):
        raise CheckpointError(
            f"MASKQ_DEVICE={setting}, but PyTorch sees {usable(device.type)} {device.type.upper()} devices"
        )
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU computes with bfloat16 itself. Those of NVIDIA before Ampere only emulate it. True for others."""
    module: Any = torch.get_device_module(device) if device.type == "cuda" else None
    return module is None or bool(module.is_bf16_supported(including_emulation=False))


def free_bytes(device: torch.device) -> int | None:
    """Bytes of memory that are free on a device; None for the CPU."""
    if device.type == "cpu":
        return None
    module: Any = torch.get_device_module(device)
    if device.type == "mps":  # it shares the memory of the machine
        return int(module.recommended_max_memory() - module.driver_allocated_memory())
    return int(module.mem_get_info(device)[0])


def memory_of_devices() -> Iterator[tuple[int, dict[str, int]]]:
    """Number of each GPU that this process sees, and bytes of its memory by kind. Without GPUs that have a memory of
    their own there is none."""
    kind = next((each for each in ("cuda", "xpu") if usable(each)), None)
    module: Any = torch.get_device_module(kind) if kind else None
    for number in range(usable(kind) if kind else 0):
        free, total = module.mem_get_info(number)
        allocated, reserved = module.memory_allocated(number), module.memory_reserved(number)
        yield number, {"total": total, "free": free, "allocated": allocated, "reserved": reserved}


def made_current(device: torch.device) -> AbstractContextManager[object]:
    """The device on which this thread records events and captures graphs while the context lasts."""
    return nullcontext() if device.index is None else torch.accelerator.device_index(device.index)
