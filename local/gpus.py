"""Which GPUs the workers of one command use: one worker per GPU, unless the command line says something else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shared.errors import ConfigurationError
from worker.devices.driver import Gpu, listed_gpus, named_gpus, visible_gpus

_TORCH_S = 60.0
_DRIVERS = Path("/dev/nvidia0"), Path("/dev/kfd")
"""Which exist if a driver for GPUs of NVIDIA or AMD is loaded."""
ABOUT_GPUS = (
    "GPUs to use: `all` (default), their number, or a list such as 0,2 of numbers as nvidia-smi has them or UUIDs; "
    "0 is none"
)


def chosen_gpus(text: str | None) -> list[Gpu]:
    """The GPUs that `--gpus` chooses; without it, all that CUDA_VISIBLE_DEVICES leaves, or none if MASKQ_DEVICE names
    something else.

    Raises:
        ConfigurationError: some do not exist, or MASKQ_DEVICE contradicts.
    """
    device = os.environ.get("MASKQ_DEVICE") or "auto"
    if device not in ("auto", "cuda"):
        if text is not None and not is_none(text):
            raise ConfigurationError(f"--gpus {text} contradicts MASKQ_DEVICE={device}: leave one of them out")
        return []
    if text is None:
        return visible_gpus(_counted)
    visible = visible_gpus(_counted)
    if text == "all":
        return _required(visible, 1, text, len(visible))
    if text.isascii() and text.isdigit():
        return _required(visible, int(text), text, len(visible))[: int(text)]
    return _listed(text, visible)


def is_none(text: str | None) -> bool:
    """Whether this `--gpus` says that workers use no GPU: 0, however many digits it has."""
    return text is not None and set(text) == {"0"}


def share_gpus(gpus: list[Gpu], workers: int, say: Callable[[str], None]) -> list[Gpu | None]:
    """The GPU of each worker, in turns; None for each without GPUs. Says which worker has which."""
    if not gpus:
        return [None] * workers
    if workers > len(gpus):
        say(
            f"{workers} workers share {len(gpus)} GPU(s): each has weights and a cache of its own in the GPU's memory; "
            "if that is short, start fewer workers or set MASKQ_MAX_BATCH lower"
        )
    shared = [gpus[number % len(gpus)] for number in range(workers)]
    for number, gpu in enumerate(shared, 1):
        say(f"worker-{number} uses {gpu}")
    return list(shared)


def _listed(text: str, visible: list[Gpu]) -> list[Gpu]:
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    found = named_gpus(",".join(wanted), listed_gpus())
    allowed = [gpu for gpu in found if gpu in visible or gpu.id.startswith("MIG-")]
    return _required(allowed, max(1, len(wanted)), text, len(visible))


def _required(found: list[Gpu], number: int, text: str, visible: int) -> list[Gpu]:
    if len(found) < number:
        raise ConfigurationError(
            f"--gpus {text}: must be all, a number, or numbers or UUIDs of GPUs, comma-separated, and {visible} GPU(s) "
            "can be used here; nvidia-smi -L lists those of the machine, and CUDA_VISIBLE_DEVICES chooses among them"
        )
    return found


def _counted() -> int:
    """The number of GPUs where the driver's program is absent. Machines without a driver need not wait for PyTorch."""
    return devices_of_torch() if any(path.exists() for path in _DRIVERS) else 0


def devices_of_torch() -> int:
    """How many GPUs PyTorch can use. Found in a child process: a broken driver may crash it."""
    code = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TORCH_S, check=True
        )
    except subprocess.SubprocessError:
        return 0
    return int(done.stdout)
