"""Puts an engine together for a model: how many slots, how long, and on which device."""

from __future__ import annotations

import logging
from typing import Any

import torch

from shared.errors import CheckpointError
from shared.settings import EngineSettings
from worker.engine.engine import Engine
from worker.engine.gemma import Decoder
from worker.engine.grammar import Vocabulary
from worker.engine.runner import Runner, RunnerLimits
from worker.engine.scheduler import Scheduler

_MEMORY_FOR_SLOTS = 0.7
"""Share of a GPU's free memory that the cache may take; the rest is for what a step computes in between."""

logger = logging.getLogger(__name__)


def start_engine(model: Any, tokenizer: Any, settings: EngineSettings) -> Engine:
    """Start an engine on a loaded `PaliGemmaForConditionalGeneration`. The caller closes it.

    Raises:
        CheckpointError: it is not a PaliGemma 2, or the device's memory does not hold a single sequence.
    """
    text = model.config.text_config
    if text.model_type != "gemma2":
        raise CheckpointError(f"its language model is a {text.model_type}; PaliGemma 2 has a gemma2")
    image_tokens = (model.config.vision_config.image_size // model.config.vision_config.patch_size) ** 2
    capacity = image_tokens + settings.max_prompt_tokens + settings.max_answer_tokens
    slots = _slots(model, capacity, settings.max_batch)
    lag = 1 if model.device.type == "cuda" else 0
    runner = Runner(
        model,
        Vocabulary.of(tokenizer.get_vocab(), tokenizer.eos_token_id),
        RunnerLimits(slots, capacity, settings.feature_cache_bytes),
        force_format=settings.force_format,
        lag=lag,
    )
    scheduler = Scheduler(slots, settings.prefill_tokens)
    return Engine(runner, scheduler, max_answer_tokens=settings.max_answer_tokens, lag=lag)


def _slots(model: Any, capacity: int, wanted: int) -> int:
    """As many as wanted, or as many as fit."""
    if model.device.type != "cuda":
        return wanted
    free, _ = torch.cuda.mem_get_info(model.device)
    slot_bytes = Decoder.slot_bytes(model.config.text_config, capacity, model.dtype.itemsize)
    fit = int(free * _MEMORY_FOR_SLOTS) // slot_bytes
    if fit == 0:
        raise CheckpointError(f"a sequence takes {slot_bytes / 1e9:.1f} GB of the GPU's memory, and that is not free")
    if fit < wanted:
        logger.warning("MASKQ_MAX_BATCH=%d does not fit the GPU's memory: %d jobs at once", wanted, fit)
    return min(wanted, fit)
