"""Examines the GPUs of this machine, without the import of torch, which takes seconds."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.doctor.finding import Finding, gigabytes, ok, problem
from local.gpus import devices_of_torch
from worker.devices.driver import query_driver

_MIB = 1024**2


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver describes it."""

    name: str
    driver: str
    total_bytes: int
    free_bytes: int


def examine_gpu() -> Iterator[Finding]:
    """Report the driver, the memory of each GPU, and whether PyTorch can use them."""
    found = gpus()
    if not found:
        yield ok("gpu", f"none: workers use the CPU ({os.cpu_count()} cores)")
        return
    for gpu in found:
        memory = f"{gigabytes(gpu.free_bytes)} of {gigabytes(gpu.total_bytes)} free"
        yield ok("gpu", f"{gpu.name}, driver {gpu.driver}, {memory}")
    seen = devices_of_torch()
    text = f"PyTorch {_torch_cuda()} sees {seen} of {len(found)}"
    if seen == len(found):
        yield ok("gpu", text)
    else:
        yield problem("gpu", text, "Install PyTorch for the CUDA version of this driver, or see CUDA_VISIBLE_DEVICES")


def gpus() -> list[Gpu]:
    """All GPUs that the driver knows; none without a driver."""
    rows = query_driver("name", "driver_version", "memory.total", "memory.free")
    return [Gpu(name, driver, int(total) * _MIB, int(free) * _MIB) for name, driver, total, free in rows]


def _torch_cuda() -> str:
    """`2.9.0 (CUDA 12.8)`, without the import of torch, which takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return "(not installed)"
    text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    version, cuda = (re.search(rf"^{name}.*= '([^']+)'", text, re.MULTILINE) for name in ("__version__", "cuda"))
    return f"{version[1] if version else '?'} ({f'CUDA {cuda[1]}' if cuda else 'without CUDA'})"
