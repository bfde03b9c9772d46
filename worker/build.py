"""Puts a worker together: process-wide switches, checkpoint, engine, pipeline and service."""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from shared.errors import CheckpointError
from shared.images.sandbox import DecodingPool
from shared.registry import served_model
from shared.settings import EngineSettings, ImageSettings, Settings
from worker.devices.accelerators import free_bytes
from worker.devices.claim import claim_device
from worker.devices.locks import DeviceLocks
from worker.engine.engine import Engine
from worker.engine.failures import StepOutOfMemory
from worker.engine.grammar import SpecialTokenIds
from worker.engine.runner import Runner, RunnerLimits
from worker.engine.scheduler import Scheduler
from worker.engine.warm_up import warm_up
from worker.engine_model import EngineModel
from worker.fitting import capacity, fitted, image_tokens, is_small_on_cpu, slot_bytes
from worker.job_processes.processes import in_processes
from worker.loading.checkpoint import Checkpoint, load_checkpoint
from worker.pipeline import Pipeline
from worker.service import WorkerService
from worker.stages.mask_vqvae import keep_jax_on_cpu
from worker.stages.preprocess import Preprocessor
from worker.start_log import describe, log_ready, phase

_CACHE_SHARE = 0.7
"""Share of a GPU's free memory that the key-value cache may take. Steps need the rest for intermediate results."""
_NO_ROOM = (
    "the GPU's memory has no room for steps of {} jobs (MASKQ_MAX_BATCH) and prefills of {} tokens "
    "(MASKQ_PREFILL_TOKENS): set one of them lower"
)

logger = logging.getLogger(__name__)


def start_service(
    settings: Settings, notify_worker: Callable[[], None], notify_webhooks: Callable[[str], None]
) -> WorkerService:
    """Start a worker's service with the model that the settings name. Arguments as in `WorkerService`.

    Raises:
        ConfigurationError: the model cannot be loaded. The message says what to do.
    """
    set_up_libraries()
    served = served_model(settings.model)
    device = claim_device(settings.checkpoint.device, DeviceLocks.in_cache(settings.checkpoint.cache_dir))
    with phase(f"loading {served.name} on {device}"):
        on_device = settings.checkpoint.model_copy(update={"device": device.setting})
        checkpoint = load_checkpoint(served, on_device, settings.model)
    limit_threads(checkpoint.model)
    settings = fitted(settings, checkpoint.model)
    with phase("warming up"):
        model, engine = start_model(checkpoint, settings.engine)
        jobs = in_processes(model, settings, checkpoint.calibration)
        service = WorkerService.connect(settings, served.name, jobs, engine, notify_worker, notify_webhooks)
        checkpoint.codec.warm_up()  # while the job processes start
        release_memory()
    facts = describe(checkpoint.model, device, engine)
    service.describe(facts)
    service.start()
    log_ready(served.name, facts, settings)
    return service


def set_up_libraries() -> None:
    """Switches of this process: JAX on the CPU, and no progress bars of transformers, because logs are not terminals.
    Entry points that load a checkpoint call it first."""
    keep_jax_on_cpu()
    transformers_logging.disable_progress_bar()


def release_memory() -> None:
    """What was loaded stays, so no later collection of garbage has to look at it. And return to the system what the C
    library has kept of freed memory: 40 MB with the demo checkpoint."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def limit_threads(model: Any) -> None:
    """Let PyTorch use one CPU thread in this process if the model is small. For processes that only run this model.

    A second thread costs more than it brings. Images per second with the demo checkpoint and 16 jobs in flight: 57 with
    one thread and 55 with two; `generate` of transformers: 38 and 29 (benchmarks/engine).
    """
    if is_small_on_cpu(model):
        torch.set_num_threads(1)


@contextmanager
def limited_threads(model: Any) -> Iterator[None]:
    """`limit_threads` until the context ends. For processes that compute other things as well, such as training."""
    before = torch.get_num_threads()
    limit_threads(model)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def start_pipeline(checkpoint: Checkpoint, engine: EngineSettings, images: ImageSettings) -> Pipeline:
    """A pipeline of this process, which has the model. The caller closes it.

    Raises:
        CheckpointError: as `start_engine`.
    """
    model, _ = start_model(checkpoint, engine)
    return Pipeline(DecodingPool(images), model, checkpoint.calibration)


def start_model(checkpoint: Checkpoint, settings: EngineSettings) -> tuple[EngineModel, Engine]:
    """Start an engine on a checkpoint; it is warm. The caller closes the model, which closes the engine.

    Raises:
        CheckpointError: as `start_engine`.
    """
    tokenizer = checkpoint.processor.tokenizer
    engine = start_engine(checkpoint.model, tokenizer, settings)
    preprocessor = Preprocessor(checkpoint.processor, settings.max_prompt_tokens)
    return EngineModel(preprocessor, engine, tokenizer, checkpoint.codec), engine


def start_engine(model: Any, tokenizer: Any, settings: EngineSettings) -> Engine:
    """Start an engine on a loaded `PaliGemmaForConditionalGeneration`, and wait until it is warm. The caller closes
    it.

    Raises:
        CheckpointError: it is not a PaliGemma 2, or the device has no memory for a single sequence or for a step.
    """
    text = model.config.text_config
    if text.model_type != "gemma2":
        raise CheckpointError(f"its language model is a {text.model_type}; PaliGemma 2 has a gemma2")
    slots = _slots(model, settings)
    lag = 1 if model.device.type == "cuda" else 0
    runner = Runner(
        model,
        SpecialTokenIds.of(tokenizer.get_vocab(), tokenizer.eos_token_id),
        RunnerLimits(slots, capacity(model, settings), settings.feature_cache_bytes),
        force_format=settings.force_format,
        lag=lag,
    )
    scheduler = Scheduler(slots, settings.prefill_tokens)
    prepare = partial(
        warm_up,
        runner,
        side=model.config.vision_config.image_size,
        image_tokens=image_tokens(model),
        prefill_tokens=settings.prefill_tokens,
    )
    engine = Engine(runner, scheduler, max_answer_tokens=settings.max_answer_tokens, lag=lag, prepare=prepare)
    try:
        engine.wait_until_prepared()
    except StepOutOfMemory:
        raise CheckpointError(_NO_ROOM.format(slots, settings.prefill_tokens)) from None
    return engine


def _slots(model: Any, settings: EngineSettings) -> int:
    """The wanted number of slots, or as many as fit into the device's memory."""
    free = free_bytes(model.device)
    if free is None:
        return settings.max_batch
    needed = slot_bytes(model, settings)
    fit = int(free * _CACHE_SHARE) // needed
    if fit == 0:
        raise CheckpointError(f"a sequence takes {needed / 1e9:.1f} GB of the GPU's memory, and that is not free")
    if fit < settings.max_batch:
        logger.warning("MASKQ_MAX_BATCH=%d does not fit the GPU's memory: %d jobs at once", settings.max_batch, fit)
    return min(settings.max_batch, fit)
