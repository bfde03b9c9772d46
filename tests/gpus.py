"""Stand-ins for GPUs: what the driver's program prints, and how many PyTorch sees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

MODEL = "NVIDIA H200"


def uuid(number: int) -> str:
    """The UUID of a GPU."""
    return f"GPU-{number}000aaaa-0000-0000-0000-000000000000"


def with_driver(folder: Path, gpus: int) -> str:
    """A program `nvidia-smi` in this folder that lists so many GPUs. Returns a PATH on which it comes first."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"echo '{number}, {uuid(number)}, {MODEL}'" for number in range(gpus))
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{rows}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def without_driver(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No program `nvidia-smi` that finds a GPU, and no choice of GPUs."""
    monkeypatch.setenv("PATH", with_driver(folder, 0))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def pretend(monkeypatch: pytest.MonkeyPatch, **counts: int) -> None:
    """Let PyTorch see so many devices of each kind. CUDA's count follows CUDA_VISIBLE_DEVICES, as before its start."""

    def visible_cuda() -> int:
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = counts.get("cuda", 0)
        return found if chosen is None else min(found, len([each for each in chosen.split(",") if each != "-1"]))

    def other(kind: str) -> int:
        return counts.get(kind, 0)

    for kind in ("cuda", "xpu", "mps"):
        count = visible_cuda if kind == "cuda" else partial(other, kind)
        module = torch.get_device_module(kind)
        monkeypatch.setattr(module, "device_count", count)
        monkeypatch.setattr(module, "is_available", partial(_is_positive, count))


def _is_positive(count: Callable[[], int]) -> bool:
    return count() > 0


@contextmanager
def same_environment() -> Iterator[None]:
    """Undo what is done to the environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
