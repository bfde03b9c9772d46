"""Finds, fetches, checks and loads a checkpoint: the demo's, a local folder's or an official one, all by this code."""

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
from transformers.utils import logging as transformers_logging

from shared.errors import CheckpointError
from shared.images.sandbox import DecodingPool
from shared.registry import ServedModel, find_model
from shared.settings import Settings
from worker.build import start_engine
from worker.engine.engine import Engine
from worker.loading.hub import fetch_checkpoint, weight_files
from worker.loading.lora import base_of, is_adapter, merge_adapter
from worker.loading.vae_file import find_vae
from worker.pipeline import Pipeline
from worker.stages.mask_vqvae import MaskCodec, load_vae
from worker.stages.preprocess import Preprocessor

transformers_logging.disable_progress_bar()  # loading takes a second or a minute, and logs are not terminals

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_SMALL_PARAMETERS = 20_000_000
"""Models below this compute with one thread on a CPU: a second one takes more than it gives. Of the demo checkpoint's
images a second, 16 in flight: 57 with one and 55 with two; `generate` of transformers 38 and 29 (benchmarks/engine)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to run, with all that belongs to it."""

    model: Any
    """`PaliGemmaForConditionalGeneration`, in evaluation mode, on its device."""
    processor: Any
    """`PaliGemmaProcessor`."""
    codec: MaskCodec

    def start_pipeline(self, settings: Settings) -> tuple[Pipeline, Engine]:
        """Start an engine on this model, and the pipeline over it. The caller closes the pipeline."""
        tokenizer = self.processor.tokenizer
        engine = start_engine(self.model, tokenizer, settings.engine)
        preprocessor = Preprocessor(self.processor, settings.engine.max_prompt_tokens)
        return Pipeline(DecodingPool(settings.images), preprocessor, engine, tokenizer, self.codec), engine


def load_checkpoint(served: ServedModel, settings: Settings) -> Checkpoint:
    """Load the model this deployment serves.

    Raises:
        CheckpointError: it cannot be had or does not fit; says what to do.
    """
    folder = served.folder or fetch_checkpoint(served.name, settings.checkpoint)
    adapter = folder if is_adapter(folder) else None
    if adapter:
        folder = _base_folder(adapter, settings)
    device = choose_device(settings.checkpoint.device)
    dtype = choose_dtype(settings.checkpoint.dtype, device)
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
        if device.type == "cpu" and model.num_parameters() < _SMALL_PARAMETERS:
            torch.set_num_threads(1)
        images = SiglipImageProcessorPil.from_pretrained(folder, local_files_only=True)
        processor = PaliGemmaProcessor.from_pretrained(folder, image_processor=images, local_files_only=True)
    return Checkpoint(model, processor, load_vae(find_vae(folder, settings.checkpoint.cache_dir)))


def _base_folder(adapter: Path, settings: Settings) -> Path:
    """Where the model is that an adapter belongs to: known to the registry, or a local folder."""
    base = find_model(base_of(adapter), settings.model.models_dir)
    return base.folder or fetch_checkpoint(base.name, settings.checkpoint)


def choose_device(wish: str) -> torch.device:
    """`auto` is the first CUDA device, or the CPU where there is none.

    Raises:
        CheckpointError: a CUDA device is wished for and there is none.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wish)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise CheckpointError(f"MASKQ_DEVICE={wish}, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return device


def choose_dtype(wish: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and float32 on a CPU."""
    return _DTYPES.get(wish, torch.bfloat16 if device.type == "cuda" else torch.float32)


def _read_config(folder: Path, *, softcap: bool) -> Any:
    """The checkpoint's configuration, its soft-capping switched off unless the registry wants it."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "paligemma":
        raise CheckpointError(f"{folder} holds a {config.model_type}, not a PaliGemma")
    if not softcap:
        config.text_config.attn_logit_softcapping = None
        config.text_config.final_logit_softcapping = None
    return config


def _check_memory(folder: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse at once what would fail, or drive the machine into swapping, minutes later."""
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
    """Bytes the kernel could give away without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while loading into something an operator can act on."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise CheckpointError("the model does not fit the GPU's memory: serve a smaller one or free the GPU") from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} does not hold a PaliGemma checkpoint that loads: {error}") from error
