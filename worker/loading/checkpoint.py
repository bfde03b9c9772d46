"""Finds, fetches, checks and loads a checkpoint. The same code loads the demo, local folders and official
checkpoints."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from shared.errors import CheckpointError
from shared.registry import ServedModel, find_model
from shared.settings import CheckpointSettings, ModelSettings
from worker.loading.hub import fetch_checkpoint, weight_files
from worker.loading.lora import base_of, is_adapter, merge_adapter
from worker.loading.vae_file import find_vae
from worker.stages.mask_vqvae import MaskCodec, load_vae

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to run, its processor and its mask codec."""

    model: Any
    """`PaliGemmaForConditionalGeneration`, in evaluation mode, on its device."""
    processor: Any
    """`PaliGemmaProcessor`."""
    codec: MaskCodec


def load_checkpoint(served: ServedModel, settings: CheckpointSettings, models: ModelSettings) -> Checkpoint:
    """Load a model. `models` locates the registry, where the base model of an adapter is looked up.

    Raises:
        CheckpointError: the checkpoint cannot be fetched or loaded, or does not fit. The message says what to do.
    """
    folder = served.folder or fetch_checkpoint(served.name, settings)
    adapter = folder if is_adapter(folder) else None
    if adapter:
        folder = _base_folder(adapter, settings, models)
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    logger.info("loading %s on %s in %s", served.name, device, dtype)
    with _explained(folder):
        _check_memory(folder, device, dtype)
        config = _read_config(folder, softcap=served.entry.softcap)
        model = PaliGemmaForConditionalGeneration.from_pretrained(
            folder, config=config, dtype=dtype, local_files_only=True, use_safetensors=True
        )
        if adapter:
            merge_adapter(model, adapter)
        model = model.to(device).eval()
        images = SiglipImageProcessorPil.from_pretrained(folder, local_files_only=True)
        processor = PaliGemmaProcessor.from_pretrained(folder, image_processor=images, local_files_only=True)
    return Checkpoint(model, processor, load_vae(find_vae(folder, settings.cache_dir)))


def _base_folder(adapter: Path, settings: CheckpointSettings, models: ModelSettings) -> Path:
    """The folder of the model that an adapter belongs to: a model of the registry, or a local folder."""
    base = find_model(base_of(adapter), models.models_dir)
    return base.folder or fetch_checkpoint(base.name, settings)


def choose_device(setting: str) -> torch.device:
    """`auto` is the first CUDA device, or the CPU if there is none.

    Raises:
        CheckpointError: the setting names a CUDA device that does not exist.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(setting)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise CheckpointError(f"MASKQ_DEVICE={setting}, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return device


def choose_dtype(setting: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and float32 on a CPU."""
    return _DTYPES.get(setting, torch.bfloat16 if device.type == "cuda" else torch.float32)


def _read_config(folder: Path, *, softcap: bool) -> Any:
    """The checkpoint's configuration, without soft-capping unless the registry switches it on."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "paligemma":
        raise CheckpointError(f"{folder} contains a {config.model_type}, not a PaliGemma")
    if not softcap:
        config.text_config.attn_logit_softcapping = None
        config.text_config.final_logit_softcapping = None
    return config


def _check_memory(folder: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Raise now what would fail, or make the machine swap, minutes later."""
    files = weight_files(folder)
    if not files:
        raise CheckpointError(f"{folder} has no complete model.safetensors; fetch the checkpoint again")
    needed = sum(file.stat().st_size for file in files) * dtype.itemsize // 2  # published weights are bfloat16
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_ram()
    if needed > free:
        raise CheckpointError(
            f"the weights take {needed / 1e9:.1f} GB in {dtype} and {free / 1e9:.1f} GB are free on {device}: "
            "serve a smaller checkpoint, set MASKQ_DTYPE=bfloat16, or use a larger device"
        )


def _free_ram() -> int:
    """Bytes of RAM that are available without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn errors of loading into a `CheckpointError` that says what to do."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise CheckpointError("the model does not fit the GPU's memory: serve a smaller one or free the GPU") from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} does not contain a PaliGemma checkpoint that loads: {error}") from error
