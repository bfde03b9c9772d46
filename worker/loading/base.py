"""Finds the model that a checkpoint was fine-tuned from: an adapter is merged into it, and a checkpoint without a
processor uses its processor."""

from __future__ import annotations

import re
from pathlib import Path

from shared.errors import CheckpointError
from shared.registry import ServedModel, find_base
from shared.settings import CheckpointSettings, ModelSettings
from worker.loading.hub import fetch_checkpoint, fetch_small_files
from worker.loading.lora import base_of, is_adapter
from worker.loading.model_folder import CONFIG, check_folder, read_json

_FIRST_PALIGEMMA = re.compile(r"(.*/)?paligemma-\d+b-.*", re.IGNORECASE)
_QUANTIZED = re.compile(r".*(bnb|[48]-?bit|int[48]|gptq|awq).*", re.IGNORECASE)
_IN_HUB_CACHE = re.compile(r".*/models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/.*")
_SET_BASE = "set MASKQ_BASE_MODEL to its folder on this machine or to a name in the registry"


def base_of_adapter(adapter: Path, settings: CheckpointSettings, models: ModelSettings) -> Path:
    """The folder of the model that an adapter is merged into. Fetched if it is on the hub.

    Raises:
        CheckpointError: it is not here, or is not a whole model. The message says what to do.
    """
    base = _setting(settings, models) or _named_base(adapter, base_of(adapter), models)
    folder = base.folder or fetch_checkpoint(base.name, settings, is_gated=base.entry.gated)
    if not folder.exists():
        where = "MASKQ_BASE_MODEL" if settings.base_model else f"the base of {adapter}"
        raise CheckpointError(f"{folder}, {where}, does not exist on this machine: {_SET_BASE}")
    check_folder(folder)
    if is_adapter(folder):
        raise CheckpointError(
            f"{folder}, the base of {adapter}, is itself an adapter: merge it into its base with peft's "
            "merge_and_unload(), and set MASKQ_BASE_MODEL to the result"
        )
    return folder


def processor_of_base(folder: Path, settings: CheckpointSettings, models: ModelSettings) -> Path | None:
    """A folder with the processor of the model that the model in `folder` was fine-tuned from. None if neither the
    settings nor its configuration name one that is known.

    Raises:
        CheckpointError: it is on the hub and cannot be fetched, or the setting is wrong. The message says what to do.
    """
    named = read_json(folder / CONFIG).get("_name_or_path")
    base = _setting(settings, models) or (find_base(_hub_id(named), models) if isinstance(named, str) else None)
    if not base or base.folder:
        return base.folder if base else None
    try:
        return fetch_small_files(base.name, settings, is_gated=base.entry.gated)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder} has no processor, and that of its base is not here: {error.detail}. Or save it with "
            f"processor.save_pretrained({str(folder)!r})"
        ) from None


def _setting(settings: CheckpointSettings, models: ModelSettings) -> ServedModel | None:
    if not settings.base_model:
        return None
    if base := find_base(settings.base_model, models):
        return base
    raise CheckpointError(
        f"MASKQ_BASE_MODEL={settings.base_model} is neither a folder on this machine nor a model of the registry: "
        "write a folder as /FOLDER; docs/models.md explains how to add a hub id of your own"
    )


def _named_base(adapter: Path, name: str, models: ModelSettings) -> ServedModel:
    name = _hub_id(name)
    if _FIRST_PALIGEMMA.fullmatch(name):
        raise CheckpointError(
            f"{adapter} was trained on {name}, a PaliGemma 1, and maskq serves PaliGemma 2: train it on a "
            "google/paligemma2 model instead"
        )
    if base := find_base(name, models):
        return base
    if _QUANTIZED.fullmatch(name):
        raise CheckpointError(
            f"{adapter} was trained on {name}, which is quantized, and maskq serves bfloat16 or float32: set "
            "MASKQ_BASE_MODEL to the same model without quantization"
        )
    raise CheckpointError(
        f"{name}, the base of {adapter}, is neither a folder on this machine nor a model of the registry: {_SET_BASE}"
    )


def _hub_id(name: str) -> str:
    """The hub id of a folder in the hub's cache, which another machine may have elsewhere; other names stay."""
    found = _IN_HUB_CACHE.fullmatch(name)
    return f"{found['owner']}/{found['name']}" if found and not Path(name).exists() else name
