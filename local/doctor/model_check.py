"""Examines the model that a worker would serve: its files, and whether it fits the device. Loads nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.doctor.finding import Finding, gigabytes, ok, problem, warning
from local.doctor.gpu_check import gpus
from shared.errors import ConfigurationError
from shared.registry import BYTES_PER_PARAMETER, ServedModel, offered_models, read_registry
from shared.settings import CheckpointSettings, ModelSettings

_VAE_NAMES = ("vae.npz", "vae-oid.npz")


@dataclass(frozen=True)
class Device:
    """Where a worker of these settings would run."""

    name: str
    dtype: str
    free_bytes: int


def examine_models(models: ModelSettings, checkpoint: CheckpointSettings) -> Iterator[Finding]:
    """Report whether the files of each model are here and fit the device."""
    try:
        offered = offered_models(models)
    except ConfigurationError as error:
        yield problem("model", error.detail, "Change MASKQ_MODEL_ID, MASKQ_MODELS or MASKQ_MODELS_DIR")
        return
    device = _device(checkpoint)
    for model in offered.values():
        yield from _files(model, checkpoint)
        yield from _room(model, checkpoint, device)
    yield _what_fits(models, device)


def _files(model: ServedModel, settings: CheckpointSettings) -> Iterator[Finding]:
    folder = _folder(model, settings)
    if folder is None:
        advice = f"`scripts/models fetch {model.name}` fetches them"
        if settings.hf_token is None and model.entry.gated:
            yield problem("model", f"{model.name}: no complete files, and HF_TOKEN is not set", f"Set it; {advice}")
        else:
            yield warning(
                "model", f"{model.name}: no complete files yet", f"A worker fetches them at its start; {advice}"
            )
        return
    yield ok("model", f"{model.name}: its files are complete in {folder}")
    yield _vae(model, folder, settings.cache_dir)


def _vae(model: ServedModel, folder: Path, cache: Path) -> Finding:
    """The weights that draw masks: beside the checkpoint, or the official file, whose digest is known."""
    from worker.loading.download import file_sha256
    from worker.loading.vae_file import OFFICIAL_SHA256

    beside = [folder / name for name in _VAE_NAMES if (folder / name).exists()]
    if beside:
        return ok("model", f"{model.name}: masks from {beside[0]}")
    official = cache / "vae-oid.npz"
    if not official.exists():
        return warning("model", f"{model.name}: {official} is not here yet", "A worker fetches it at its start")
    if file_sha256(official) != OFFICIAL_SHA256:
        return problem("model", f"{model.name}: {official} has the wrong digest", "Delete it; it is fetched again")
    return ok("model", f"{model.name}: masks from {official}, with the published digest")


def _folder(model: ServedModel, settings: CheckpointSettings) -> Path | None:
    """The folder with all weights of a model, or None."""
    from worker.loading.hub import cached_checkpoint, weight_files

    if model.folder is None:
        return cached_checkpoint(model.name, settings)
    is_adapter = (model.folder / "adapter_config.json").exists()
    return model.folder if is_adapter or weight_files(model.folder) else None


def _room(model: ServedModel, settings: CheckpointSettings, device: Device) -> Iterator[Finding]:
    needed = model.entry.weights_bytes(device.dtype)
    folder = _folder(model, settings)
    if needed is None and folder is not None:
        needed = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if needed is None:
        return
    free = gigabytes(device.free_bytes)
    text = f"{model.name}: its weights take {gigabytes(needed)} in {device.dtype}; {device.name} has {free} free"
    if needed < device.free_bytes:
        yield ok("model", text)
    else:
        yield problem("model", text, "Serve a smaller model, set MASKQ_DTYPE=bfloat16, or free memory")


def _what_fits(models: ModelSettings, device: Device) -> Finding:
    sizes = {name: entry.weights_bytes(device.dtype) for name, entry in read_registry(models.models_dir).items()}
    fitting = {name: size for name, size in sizes.items() if size and size < device.free_bytes}
    largest = max(fitting, key=lambda name: fitting[name], default="none")
    return ok("model", f"{len(fitting)} of {len(sizes)} models of the registry fit here, the largest is {largest}")


def _device(settings: CheckpointSettings) -> Device:
    found = [] if settings.device == "cpu" else gpus()
    number = int(settings.device.partition(":")[2] or 0)
    dtype = settings.dtype if settings.dtype in BYTES_PER_PARAMETER else "bfloat16" if found else "float32"
    if number < len(found):
        return Device(f"GPU {number}", dtype, found[number].free_bytes)
    return Device("the machine", dtype, _free_memory())


def _free_memory() -> int:
    """Bytes of memory that are available without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
