"""Merges LoRA adapters in the format of `peft` into their base model when it is loaded.

A layer's weight W becomes W + alpha / r * B A (https://arxiv.org/abs/2106.09685), or W + alpha / sqrt(r) * B A for
rank-stabilized adapters (https://arxiv.org/abs/2312.03732). Only plain LoRA in safetensors is merged. Everything else
is refused, because a partly merged adapter would be another model than the trained one.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from shared.errors import CheckpointError
from worker.loading.model_folder import ADAPTER_CONFIG as _CONFIG
from worker.loading.model_folder import read_json
from worker.loading.weights import read_header

_WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_FACTOR = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<which>[AB])\.weight")
_BEYOND_PLAIN = (
    "use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern",
    "layer_replication", "trainable_token_indices", "target_parameters",
)  # fmt: skip
_CHANGE_THE_BASE = "pissa", "olora", "corda", "loftq"
"""Initializations that change the weights of the base too, so the adapter does not belong to the published base."""
_RENAMED = (
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.lm_head", "lm_head"),
    (r"^vision_tower\.", "model.vision_tower."),
    (r"^multi_modal_projector\.", "model.multi_modal_projector."),
    (r"^model\.vision_tower\.vision_model\.", "model.vision_tower."),
)
"""Old names of layers, before transformers 4.52, and their new names. Adapters of that time have the old ones."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder contains an adapter instead of a whole model."""
    return (folder / _CONFIG).exists()


def base_of(folder: Path) -> str:
    """The id or folder of the model that an adapter belongs to.

    Raises:
        CheckpointError: the adapter names none.
    """
    base = read_json(folder / _CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(f"{folder / _CONFIG} names no base_model_name_or_path: set MASKQ_BASE_MODEL")
    return base


@torch.no_grad()
def merge_adapter(model: Any, folder: Path) -> None:
    """Add the adapter in `folder` to the weights of `model`, in place.

    Raises:
        CheckpointError: it is not plain LoRA, or belongs to another model.
    """
    scale = _scale(folder, read_json(folder / _CONFIG))
    for layer, factors in _factors(folder).items():
        weight = _weight(model, layer, folder)
        if set(factors) != {"A", "B"} or weight.shape != (factors["B"].shape[0], factors["A"].shape[1]):
            raise CheckpointError(f"{folder} does not fit its base at {layer}: was it trained on another model?")
        change = scale * factors["B"].float() @ factors["A"].float()
        weight.copy_(weight.float() + change.to(weight.device))


def _scale(folder: Path, config: dict[str, Any]) -> float:
    """The factor of B A. Raises for everything that is not plain LoRA."""
    beyond = [name for name in _BEYOND_PLAIN if config.get(name)]
    beyond += ["bias"] if config.get("bias", "none") != "none" else []
    beyond += [f"init_lora_weights={_init(config)}"] if _init(config).startswith(_CHANGE_THE_BASE) else []
    if config.get("peft_type") != "LORA" or beyond:
        what = ", ".join(beyond) or config.get("peft_type")
        raise CheckpointError(
            f"{folder} is not plain LoRA ({what}): merge it with peft's merge_and_unload() and serve the merged model"
        )
    rank = config.get("r")
    if not rank or "lora_alpha" not in config:
        raise CheckpointError(f"{folder / _CONFIG} has no r or no lora_alpha: copy it again from the training's output")
    return float(config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _init(config: dict[str, Any]) -> str:
    return str(config.get("init_lora_weights", "")).lower()


def _factors(folder: Path) -> dict[str, dict[str, Tensor]]:
    """For each layer its A, float[r, in], and B, float[out, r]."""
    if not (folder / _WEIGHTS).exists():
        what = f"only {_PICKLED}" if (folder / _PICKLED).exists() else f"no {_WEIGHTS}"
        raise CheckpointError(
            f"{folder} has {what}; pickled weights are never read: save the adapter with model.save_pretrained(FOLDER, "
            "safe_serialization=True)"
        )
    read_header(folder / _WEIGHTS)  # reports an incomplete file
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in load_file(folder / _WEIGHTS).items():
        found = _FACTOR.fullmatch(name)
        if not found:
            raise CheckpointError(
                f"{folder} contains {name}, which is not a factor of plain LoRA: merge it with peft's "
                "merge_and_unload() and serve the merged model"
            )
        layers.setdefault(_current_name(found["layer"]), {})[found["which"]] = value
    return layers


def _current_name(layer: str) -> str:
    for old, new in _RENAMED:
        layer = re.sub(old, new, layer)
    return layer


def _weight(model: Any, layer: str, folder: Path) -> Tensor:
    """The weight of a linear layer. Not of the head, which shares its weight with the embeddings: they must not
    change."""
    try:
        module = model.get_submodule(layer)
    except AttributeError:
        module = None
    if not isinstance(module, torch.nn.Linear) or layer == "lm_head":
        raise CheckpointError(f"{folder} changes {layer}, which is not a linear layer of its base that can be changed")
    return module.weight
