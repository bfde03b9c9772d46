"""What NVIDIA's driver says about the GPUs of this machine, without PyTorch, which takes seconds to import."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

_TIMEOUT_S = 10.0
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable from which CUDA reads, when it starts in a process, which GPUs the process may use."""
_UNIQUE = ("GPU-", "MIG-")


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a part of one (MIG)."""

    id: str
    """As CUDA_VISIBLE_DEVICES takes it: its UUID, or its number if the driver's program is absent."""
    number: str = ""
    """Its number on this machine, as nvidia-smi has it; empty if unknown."""
    model: str = ""
    """Such as `NVIDIA H200`; empty if unknown."""

    @property
    def is_unique(self) -> bool:
        """Whether no other GPU of any machine has this id."""
        return self.id.startswith(_UNIQUE)

    def __str__(self) -> str:
        known = ", ".join(part for part in (self.model, self.id) if part and part != self.number)
        return f"GPU {self.number} ({known})" if self.number and known else f"GPU {self.number or self.id}"


def visible_gpus(count: Callable[[], int]) -> list[Gpu]:
    """The GPUs that processes may use, as CUDA_VISIBLE_DEVICES chooses them, in its order; all without it.

    `count` returns their number; it is called if the driver's program is absent.
    """
    listed = listed_gpus()
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return listed or [Gpu(str(number), str(number)) for number in range(count())]
    found = named_gpus(chosen, listed)
    return found if listed else found[: max(count(), sum(gpu.is_unique for gpu in found))]


def named_gpus(text: str, listed: list[Gpu]) -> list[Gpu]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names, up to the first that does not exist, as CUDA reads it.
    `listed` is what the driver says; empty if that is unknown."""
    found: list[Gpu] = []
    for entry in (part.strip() for part in text.split(",")):
        gpu = _named(entry, listed)
        if gpu is None or gpu in found:
            break
        found.append(gpu)
    return found


def _named(entry: str, listed: list[Gpu]) -> Gpu | None:
    if entry.startswith("MIG-"):
        return Gpu(entry)
    if not (entry.isascii() and entry.isdigit()) and not entry.startswith("GPU-"):
        return None
    if not listed:
        return Gpu(entry, entry if entry.isdigit() else "")
    matching = [gpu for gpu in listed if entry == gpu.number or (entry[0] == "G" and gpu.id.startswith(entry))]
    return matching[0] if len(matching) == 1 else None


def listed_gpus() -> list[Gpu]:
    """All GPUs that the driver knows, whatever CUDA_VISIBLE_DEVICES says; none without the driver's program."""
    return [Gpu(uuid, number, model) for number, uuid, model in query_driver("index", "uuid", "name")]


def query_driver(*fields: str) -> list[list[str]]:
    """These fields of each GPU, as `nvidia-smi --help-query-gpu` explains them; none without this program."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603  no part of the command comes from a client
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [row for row in rows if len(row) == len(fields)]
