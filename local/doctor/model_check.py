"""Examines the model that a worker would serve: its files, and whether it fits the device. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.doctor.finding import Finding, gigabytes, ok, problem, warning
from local.doctor.gpu_check import gpus
from shared.errors import CheckpointError, ConfigurationError
from shared.registry import BYTES_PER_PARAMETER, ServedModel, offered_models, read_registry
from shared.settings import CheckpointSettings, ModelSettings
from worker.loading.download import file_sha256
from worker.loading.dtype import choose_dtype
from worker.loading.hub import cached_checkpoint
from worker.loading.model_folder import ADAPTER_CONFIG, CONFIG, check_folder, check_model, memory_elements
from worker.loading.ram import free_ram
from worker.loading.vae_file import OFFICIAL_SHA256, official_vae, vae_beside
from worker.loading.weights import read_weights


@dataclass(frozen=True)
class Device:
    """Where a worker of these settings would run."""

    name: str
    kind: str
    """As PyTorch calls it: `cpu` or `cuda`."""
    free_bytes: int
    dtype_setting: str

    def dtype(self, parameters: int) -> str:
        """The type of the weights of a model with so many."""
        return choose_dtype(self.dtype_setting, self.kind, parameters)

    def needed_bytes(self, parameters: int) -> int:
        """Memory that the weights of such a model take."""
        return parameters * BYTES_PER_PARAMETER[self.dtype(parameters)]


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
    """Report the state of a model's files, with the advice that a worker would give."""
    folder = model.folder or cached_checkpoint(model.name, settings)
    if folder is None:
        yield _not_fetched(model, settings)
        return
    try:
        check_folder(folder)
        if not (folder / ADAPTER_CONFIG).exists():
            check_model(folder)
    except CheckpointError as error:
        yield problem("model", f"{model.name}: {error.detail}", "`scripts/models check FOLDER` repeats this check")
        return
    yield ok("model", f"{model.name}: its files are complete in {folder}")
    yield _vae(model, folder, settings.cache_dir)


def _not_fetched(model: ServedModel, settings: CheckpointSettings) -> Finding:
    advice = f"`scripts/models fetch {model.name}` fetches them"
    if settings.hf_token is None and model.entry.gated:
        return problem("model", f"{model.name}: no complete files, and HF_TOKEN is not set", f"Set it; {advice}")
    return warning("model", f"{model.name}: no complete files yet", f"A worker fetches them at its start; {advice}")


def _vae(model: ServedModel, folder: Path, cache: Path) -> Finding:
    """The weights that draw masks: beside the checkpoint, or the official file, whose digest is known."""
    if beside := vae_beside([folder]):
        return ok("model", f"{model.name}: masks from {beside}")
    official = official_vae(cache)
    if not official.exists():
        return warning("model", f"{model.name}: {official} is not here yet", "A worker fetches it at its start")
    if file_sha256(official) != OFFICIAL_SHA256:
        return problem("model", f"{model.name}: {official} has the wrong digest", "Delete it; it is fetched again")
    return ok("model", f"{model.name}: masks from {official}, with the published digest")


def _room(model: ServedModel, settings: CheckpointSettings, device: Device) -> Iterator[Finding]:
    """Report whether the weights fit the memory: as many elements as the files have, or as the registry says."""
    parameters = model.entry.parameters or _stored_parameters(model, settings)
    if parameters is None:
        return
    quantized = model.entry.quantized_bytes(settings.quantize) if settings.quantize != "none" else None
    needed, dtype = quantized or device.needed_bytes(parameters), device.dtype(parameters)
    free = gigabytes(device.free_bytes)
    text = f"{model.name}: its weights take {gigabytes(needed)} in {dtype}; {device.name} has {free} free"
    if needed < device.free_bytes:
        yield ok("model", text)
    else:
        yield problem(
            "model", text, "Serve a smaller model, set MASKQ_DTYPE=bfloat16 or MASKQ_QUANTIZE=int8, or free memory"
        )


def _stored_parameters(model: ServedModel, settings: CheckpointSettings) -> int | None:
    folder = model.folder or cached_checkpoint(model.name, settings)
    if folder is None or not (folder / CONFIG).exists():
        return None
    try:
        return memory_elements(folder, read_weights(folder))
    except CheckpointError:
        return None  # reported with the files


def _what_fits(models: ModelSettings, device: Device) -> Finding:
    sizes = {name: entry.parameters for name, entry in read_registry(models).items()}
    fitting = {name: size for name, size in sizes.items() if size and device.needed_bytes(size) < device.free_bytes}
    largest = max(fitting, key=lambda name: fitting[name], default="none")
    return ok("model", f"{len(fitting)} of {len(sizes)} models of the registry fit here, the largest is {largest}")


def _device(settings: CheckpointSettings) -> Device:
    found = gpus() if settings.device.startswith(("auto", "cuda")) else []
    number = int(settings.device.partition(":")[2] or 0)
    if number < len(found):
        return Device(f"GPU {number}", "cuda", found[number].free_bytes, settings.dtype)
    return Device("the machine", "cpu", free_ram(), settings.dtype)
