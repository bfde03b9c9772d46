"""Copies results of a step from the device, while the device goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def copied_to_host(tensors: Sequence[Tensor]) -> tuple[list[Tensor], Callable[[], object]]:
    """The tensors on the CPU, and a function that returns when they are complete. On CUDA the copies only start here;
    elsewhere reading a tensor waits for it."""
    if tensors[0].device.type != "cuda":
        return list(tensors), lambda: None
    copies = [each.to("cpu", non_blocking=True) for each in tensors]
    copied = torch.cuda.Event()
    copied.record()
    return copies, copied.synchronize
