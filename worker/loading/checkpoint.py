"""Finds, fetches, checks and loads a checkpoint. The same code loads the demo, local folders and official
checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration
from transformers.utils import logging as transformers_logging

from shared.errors import CheckpointError, ConfigurationError
from shared.registry import ServedModel
from shared.settings import CheckpointSettings, ModelSettings
from worker.devices.accelerators import choose_device, has_bfloat16
from worker.loading.base import base_of_adapter, processor_of_base
from worker.loading.dtype import choose_dtype
from worker.loading.hub import fetch_checkpoint
from worker.loading.lora import is_adapter, merge_adapter
from worker.loading.memory import check_memory
from worker.loading.model_folder import check_folder, check_model, explained_access, in_memory, one_line
from worker.loading.processor import has_processor, load_processor
from worker.loading.quantize import quantize, weight_bytes
from worker.loading.unmapped import unmapped_weights
from worker.loading.vae_file import find_vae
from worker.stages.calibration import Calibration, load_calibration
from worker.stages.mask_vqvae import MaskCodec, load_vae

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to run, its processor and its mask codec."""

    model: Any
    """`PaliGemmaForConditionalGeneration`, in evaluation mode, on its device."""
    processor: Any
    """`PaliGemmaProcessor`."""
    codec: MaskCodec
    calibration: Calibration | None = None
    """None: the scores of its objects are not calibrated."""


def load_checkpoint(served: ServedModel, settings: CheckpointSettings, models: ModelSettings) -> Checkpoint:
    """Load a model. `models` locates the registry, where the base model of an adapter is looked up.

    Raises:
        CheckpointError: the checkpoint cannot be fetched or loaded, or does not fit. The message says what to do.
    """
    given = served.folder or fetch_checkpoint(served.name, settings, is_gated=served.entry.gated)
    with _explained(given):
        check_folder(given)
        adapter = given if is_adapter(given) else None
        folder = base_of_adapter(adapter, settings, models) if adapter else given
    device = choose_device(settings.device)
    with _explained(folder):
        tensors = in_memory(folder, check_model(folder))
        elements = sum(each.elements for each in tensors.values())
        name = choose_dtype(settings.dtype, device.type, elements, gpu_has_bfloat16=has_bfloat16(device))
        dtype = _DTYPES[name]
        quantization = "none" if device.type == "cpu" else settings.quantize  # here all weights are in the dtype first
        check_memory(weight_bytes(tensors, dtype, quantization), device, dtype)
        logger.info("loading %s from %s on %s in %s", served.name, folder, device, dtype)
        model = _load_model(folder, dtype, softcap=served.entry.softcap)
        if adapter:
            with _explained(adapter):
                merge_adapter(model, adapter)
        quantize(model, settings.quantize, device)
        model = model.to(device).eval()
        processor = load_processor(_processor_folders(folder, settings, models), model.config)
    codec = _load_codec([adapter or folder, folder], settings.cache_dir)
    with _explained(given):
        calibration = load_calibration(given)
    return Checkpoint(model, processor, codec, calibration)


def _load_model(folder: Path, dtype: torch.dtype, *, softcap: bool) -> PaliGemmaForConditionalGeneration:
    """Load the weights on the CPU. transformers would initialize missing ones at random."""
    with _quiet_transformers(), unmapped_weights(folder, dtype) as state_dict:
        model, report = PaliGemmaForConditionalGeneration.from_pretrained(
            None if state_dict else folder,
            config=_read_config(folder, softcap=softcap),
            state_dict=state_dict,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if mismatched := sorted(report["mismatched_keys"]):
        name, stored, expected = mismatched[0]
        raise CheckpointError(
            f"{name} in {folder} is {list(stored)}, and config.json makes it {list(expected)} ({len(mismatched)} such "
            "weights): save the model and its configuration together, with model.save_pretrained"
        )
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights of its model, for example {missing[0]}: save the whole model with "
            "model.save_pretrained; an adapter must be saved as an adapter, or merged first"
        )
    return model


def _processor_folders(folder: Path, settings: CheckpointSettings, models: ModelSettings) -> list[Path]:
    """Folders that may have the processor, the model's own first."""
    base = None if has_processor(folder) else processor_of_base(folder, settings, models)
    return [folder, base] if base else [folder]


def _load_codec(folders: list[Path], cache_dir: Path) -> MaskCodec:
    """The mask VQ-VAE in the first of the folders that has one, or else the official one."""
    path = find_vae(folders, cache_dir)
    try:
        return load_vae(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error.detail}: delete it, and the official one is used") from error


def _read_config(folder: Path, *, softcap: bool) -> PaliGemmaConfig:
    """The checkpoint's configuration, without soft-capping unless the registry switches it on."""
    config = PaliGemmaConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not softcap:
        config.text_config.attn_logit_softcapping = None
        config.text_config.final_logit_softcapping = None
    return config


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without its report of many lines: what is wrong is reported as one line."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn errors of loading into a `CheckpointError` of one line. Advice for known mistakes is already in it."""
    try:
        with explained_access(folder):
            yield
    except ConfigurationError:
        raise
    except torch.OutOfMemoryError:
        raise CheckpointError("the model does not fit the GPU's memory: serve a smaller one or free the GPU") from None
    except Exception as error:  # libraries raise errors of all types for files that they do not expect
        raise CheckpointError(f"{folder} does not contain a PaliGemma that loads: {one_line(error)}") from error
