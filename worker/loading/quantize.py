"""Stores the weights of linear layers in 8 or 4 bits, with torchao: a model needs a half or a third of the memory.

They are computed in the dtype of the model. The embeddings, which are also the output layer, and the norms stay as they
are: there a wrong bit costs most, and masks are tokens.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from shared.errors import CheckpointError
from shared.registry import QUANTIZED_BYTES
from worker.loading.weights import StoredTensor

Quantization = Literal["none", "int8", "int4"]

_GROUP = 128
_GEMMA = re.compile(r"language_model\.(model\.)?layers\..*_proj\.weight")
_VISION = re.compile(r"vision_tower\..*(_proj|fc1|fc2)\.weight")


def weight_bytes(tensors: Mapping[str, StoredTensor], dtype: torch.dtype, quantization: Quantization) -> int:
    """Memory of the weights of a checkpoint, in bytes."""
    return round(sum(each.elements * _element_bytes(name, dtype, quantization) for name, each in tensors.items()))


def _element_bytes(name: str, dtype: torch.dtype, quantization: Quantization) -> float:
    if quantization == "none":
        return dtype.itemsize
    if _GEMMA.search(name):
        return QUANTIZED_BYTES[quantization]
    return QUANTIZED_BYTES["int8"] if _VISION.search(name) else dtype.itemsize


def quantize(model: Any, quantization: Quantization, device: torch.device) -> None:
    """Quantize a `PaliGemmaForConditionalGeneration` that is on the CPU, one layer after the other, each on the device:
    the device never has the whole model in the dtype.

    Raises:
        CheckpointError: torchao is missing, or the device cannot compute with these weights.
    """
    if quantization == "none":
        return
    _require_usable(quantization, device, model.dtype)
    _quantize_linears(model.model.language_model.layers, quantization, device)
    _quantize_linears(model.model.vision_tower, "int8", device)  # sizes that groups of 128 do not divide


def _require_usable(quantization: Quantization, device: torch.device, dtype: torch.dtype) -> None:
    if quantization == "int4" and (device.type != "cuda" or dtype is not torch.bfloat16):
        raise CheckpointError(
            "MASKQ_QUANTIZE=int4 needs an NVIDIA GPU that computes in bfloat16: use int8, which works on every device"
        )
    try:
        import torchao  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        raise CheckpointError(
            f"MASKQ_QUANTIZE={quantization} needs torchao: pip install 'maskq-server[quantization]'"
        ) from None


def _quantize_linears(module: nn.Module, quantization: Quantization, device: torch.device) -> None:
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it warns of kernels that it does not need here
    from torchao.quantization import (  # type: ignore[import-not-found,unused-ignore]
        Int4WeightOnlyConfig,
        Int8WeightOnlyConfig,
        quantize_,
    )

    int4 = Int4WeightOnlyConfig(group_size=_GROUP, int4_packing_format="tile_packed_to_4d")
    quantize_(module, int4 if quantization == "int4" else Int8WeightOnlyConfig(), device=device)
