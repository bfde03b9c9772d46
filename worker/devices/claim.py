"""The device of one worker: with several GPUs, one that no other worker of the machine has."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch

from shared.process.identity import boot_id
from worker.devices.accelerators import choose_device, usable
from worker.devices.driver import VISIBLE, Gpu, visible_gpus
from worker.devices.locks import DeviceLocks, TakenDevice

_SHARED = (
    "%s has %d more worker(s) of this machine: each has weights and a cache of its own in its memory. Start one worker "
    "per GPU, or set MASKQ_MAX_BATCH lower"
)
_UNUSABLE = (
    "PyTorch cannot use the GPU of this machine: it was installed without CUDA, or does not fit the driver "
    "(scripts/doctor examines this)"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClaimedDevice:
    """The device that a worker uses until its process has ended."""

    setting: str
    """As PyTorch and MASKQ_DEVICE name it in this process: `cuda`, `xpu:1`, `mps` or `cpu`."""
    gpu: Gpu | None = None
    """Which GPU of the machine it is; None if it is none of NVIDIA's."""

    def __str__(self) -> str:
        return str(self.gpu or self.setting)


def claim_device(setting: str, locks: DeviceLocks) -> ClaimedDevice:
    """Take a device that MASKQ_DEVICE allows. `auto` and a kind without a number are the first that no other worker
    has, or if each has one, the first that the fewest have. Call it before anything uses CUDA in this process: of
    NVIDIA's GPUs the process, and the processes that it starts, see only the one that was taken.

    Raises:
        CheckpointError: PyTorch does not see such a device.
    """
    kind, _, number = setting.partition(":")
    if kind in ("auto", "cuda") and (claimed := _claim_gpu(number, locks)):
        return claimed
    device = choose_device(setting)
    return ClaimedDevice(_claim_numbered("xpu", number, locks) if device.type == "xpu" else str(device))


def _claim_gpu(number: str, locks: DeviceLocks) -> ClaimedDevice | None:
    """One of NVIDIA's GPUs. None if PyTorch can use none, or not that with this number."""
    gpus = visible_gpus(torch.get_device_module("cuda").device_count)
    candidates = gpus[int(number) :][:1] if number else gpus
    if not candidates:
        return None
    taken = locks.take([_unique_name(gpu.id, is_unique=gpu.is_unique) for gpu in candidates])
    gpu, visible = candidates[taken.index], os.environ.get(VISIBLE)
    os.environ[VISIBLE] = gpu.id
    if not (seen := usable("cuda")):
        logger.warning(_UNUSABLE)
        taken.release()
        _restore(visible)
        return None
    _warn_if_shared(str(gpu), taken)
    # CUDA had started before, so it sees the others still.
    return ClaimedDevice("cuda" if seen == 1 else f"cuda:{gpus.index(gpu)}", gpu)


def _claim_numbered(kind: str, number: str, locks: DeviceLocks) -> str:
    """A GPU that PyTorch knows by a number only."""
    names = [f"{kind}:{each}" for each in ([number] if number else range(usable(kind)))]
    taken = locks.take([_unique_name(name, is_unique=False) for name in names])
    _warn_if_shared(names[taken.index], taken)
    return names[taken.index]


def _unique_name(name: str, *, is_unique: bool) -> str:
    """Numbers begin at 0 on each machine, and machines may share the folder of the locks."""
    return name if is_unique else f"{boot_id()}-{name}"


def _warn_if_shared(name: str, taken: TakenDevice) -> None:
    if taken.others:
        logger.warning(_SHARED, name, taken.others)


def _restore(visible: str | None) -> None:
    if visible is None:
        del os.environ[VISIBLE]
    else:
        os.environ[VISIBLE] = visible
