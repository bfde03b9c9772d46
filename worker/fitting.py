"""Sizes of the engine that fit a device, for settings that are not set."""

from __future__ import annotations

from typing import Any

from shared.settings import EngineSettings, Settings
from worker.devices.accelerators import free_bytes
from worker.engine.gemma import GemmaLayers
from worker.loading.ram import free_ram

_MAX_SLOTS = {"cuda": 128, "xpu": 64}
"""Most slots by kind of device. A step reads all weights, whatever the number of its jobs, so a GPU does nearly twice
as many jobs a second with twice the slots, until reading the cache takes as long as reading the weights."""
_OTHER_SLOTS = 16
"""Of CPUs, which compute each job on its own, and of devices that nobody has measured."""
_SMALL_SLOTS = 32
"""Of CPUs with a small model, whose steps cost more than their jobs. Images per second with the demo checkpoint and 64
jobs in flight: 45.5 with 16 slots, 54.5 with 32, and 47.5 with 64."""
_CACHE_SHARE = 0.5
"""Share of the free memory that the key-value cache takes if nobody says how large it should be."""
_SMALL_PARAMETERS = 20_000_000
"""A model with fewer parameters is small: a CPU takes milliseconds for an image."""
_CPU_PREFILL_TOKENS = 1_024
"""For a large model on a CPU, which takes 6 GFLOP per token of 3 B parameters: 8,192 tokens take a minute, in which no
other job makes progress, and after MASKQ_STUCK_S the process would end."""


def fitted(settings: Settings, model: Any) -> Settings:
    """The settings with what fits a loaded model and its device, where they do not say it themselves."""
    engine, chosen = settings.engine, dict[str, int]()
    if "max_batch" not in engine.model_fields_set:
        chosen["max_batch"] = min([_slots(engine, model), *_threads(settings)])
    if "prefill_tokens" not in engine.model_fields_set and model.device.type == "cpu" and not is_small_on_cpu(model):
        chosen["prefill_tokens"] = _CPU_PREFILL_TOKENS
    return settings.replace(**chosen)


def capacity(model: Any, engine: EngineSettings) -> int:
    """Maximum length of a sequence: image, prompt and answer, in tokens."""
    return image_tokens(model) + engine.max_prompt_tokens + engine.max_answer_tokens


def image_tokens(model: Any) -> int:
    """Number of tokens of an image."""
    vision = model.config.vision_config
    return int(vision.image_size // vision.patch_size) ** 2


def slot_bytes(model: Any, engine: EngineSettings) -> int:
    """Bytes of the cache of one job."""
    return GemmaLayers.slot_bytes(model.config.text_config, capacity(model, engine), model.dtype.itemsize)


def _slots(engine: EngineSettings, model: Any) -> int:
    """The largest power of two that the device's memory and kind allow."""
    on_device = free_bytes(model.device)
    free = free_ram() if on_device is None else on_device
    fit = max(1, int(free * _CACHE_SHARE) // slot_bytes(model, engine))
    return min(_most_slots(model), 1 << (fit.bit_length() - 1))


def _most_slots(model: Any) -> int:
    if is_small_on_cpu(model):
        return _SMALL_SLOTS
    return _MAX_SLOTS.get(model.device.type, _OTHER_SLOTS)


def _threads(settings: Settings) -> list[int]:
    """The jobs in flight, if they are set: a batch must not be larger."""
    return [settings.worker.worker_threads] if "worker_threads" in settings.worker.model_fields_set else []


def is_small_on_cpu(model: Any) -> bool:
    """Whether a CPU runs this model, and takes milliseconds for an image."""
    return bool(model.device.type == "cpu" and model.num_parameters() < _SMALL_PARAMETERS)
