"""Checkpoints in the layout of the published ones, with random weights: names of files and weights, configuration and
tokenizer are those of `google/paligemma2-3b-mix-224`. docs/models.md says how far that is known.

The sizes of layers can be made smaller. All that a program reads by name or number stays as published.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from shared.domain.paligemma import LOCATIONS
from testing.official_tokenizer import EOS, FIRST_LOCATION, IMAGE_TOKEN, write_tokenizer

VOCABULARY = IMAGE_TOKEN + 64
"""Rows of the embeddings: 257,216."""
_PATCH = 14
_OLD_NAMES = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
"""Beginnings of names of weights: those of transformers 5, and those of transformers before 4.52, which the published
files have."""
_EMBEDDINGS = "language_model.model.embed_tokens.weight"


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. The defaults are those of the model of 3 B parameters."""

    side: int = 224
    """Of an image, in pixels."""
    hidden: int = 2_304
    intermediate: int = 9_216
    layers: int = 26
    vision_hidden: int = 1_152
    vision_intermediate: int = 4_304
    vision_layers: int = 27
    deviation: float = 0.02
    """Standard deviation of the weights of layers."""
    embedding_deviation: float = 0.02
    likely_locations: float = 4.0
    """How many times larger the embeddings of location tokens are, so that answers begin with one."""
    likely_end: float = 1.0
    """The same for the token that ends an answer."""

    @property
    def image_tokens(self) -> int:
        """Tokens before the prompt."""
        return (self.side // _PATCH) ** 2


def write_checkpoint(folder: Path, shape: Shape, shard_bytes: int = 5_000_000_000) -> None:
    """Write all files of a checkpoint, its weights in bfloat16, in files of at most `shard_bytes` unless a single
    weight is larger. Only one weight is in memory at a time."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    _write_json(folder / "config.json", config_json(shape))
    _write_json(folder / "generation_config.json", _GENERATION)
    _write_json(folder / "preprocessor_config.json", _preprocessor_json(shape))
    shards = list(_shards(weight_shapes(shape), shard_bytes))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / file, names, shape)
        weight_map |= dict.fromkeys(names, file)
    total = sum(map(_bytes, weight_shapes(shape).values()))
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def config_json(shape: Shape) -> dict[str, Any]:
    """`config.json`. As transformers 4 wrote it, it lacks what equals the defaults of transformers: the number of
    heads, for example."""
    return {
        "_vocab_size": IMAGE_TOKEN,
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "bos_token_id": 2,
        "eos_token_id": EOS,
        "hidden_size": 2_048,  # of the default configuration: nothing reads it
        "image_token_index": IMAGE_TOKEN,
        "model_type": "paligemma",
        "num_hidden_layers": shape.layers,
        "pad_token_id": 0,
        "projection_dim": shape.hidden,
        "text_config": {
            "architectures": ["Gemma2ForCausalLM"],
            "attn_logit_softcapping": 50.0,
            "cache_implementation": "hybrid",
            "eos_token_id": [1, 107],
            "final_logit_softcapping": 30.0,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "model_type": "gemma2",
            "num_hidden_layers": shape.layers,
            "num_image_tokens": shape.image_tokens,
            "num_key_value_heads": 4,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4_096,
            "torch_dtype": "bfloat16",
            "vocab_size": VOCABULARY,
        },
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.0.dev0",
        "vision_config": _vision_json(shape),
    }


def _vision_json(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": shape.vision_hidden,
        "image_size": shape.side,
        "intermediate_size": shape.vision_intermediate,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": shape.vision_layers,
        "num_image_tokens": shape.image_tokens,
        "num_positions": 256,
        "patch_size": _PATCH,
        "projection_dim": shape.hidden,
        "torch_dtype": "bfloat16",
        "vision_use_head": False,
    }


_GENERATION = {
    "_from_model_config": True,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": EOS,
    "pad_token_id": 0,
    "transformers_version": "4.46.0.dev0",
}


def _preprocessor_json(shape: Shape) -> dict[str, Any]:
    return {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_seq_length": shape.image_tokens,
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "PaliGemmaProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": shape.side, "width": shape.side},
    }


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The weights of the files by name. The output head is tied to the embeddings and has no file of its own."""
    with torch.device("meta"):
        model = PaliGemmaForConditionalGeneration(PaliGemmaConfig(**config_json(shape)))
    names = {name: tuple(value.shape) for name, value in model.state_dict().items() if name != "lm_head.weight"}
    return {_old_name(name): size for name, size in names.items()}


def _old_name(name: str) -> str:
    new, old = next(each for each in _OLD_NAMES.items() if name.startswith(each[0]))
    return old + name.removeprefix(new)


def _shards(shapes: Mapping[str, tuple[int, ...]], shard_bytes: int) -> Iterator[list[str]]:
    """Names in the order of the model, cut where a file would become too large."""
    names: list[str] = []
    size = 0
    for name, each in shapes.items():
        if names and size + _bytes(each) > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += _bytes(each)
    yield names


def _write_shard(path: Path, names: Sequence[str], shape: Shape) -> None:
    """A file in the format of safetensors: the length of the header, the header, and all tensors."""
    shapes = weight_shapes(shape)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        begin, end = end, end + _bytes(shapes[name])
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(_random_weight(name, shapes[name], shape).view(torch.uint8).numpy().data)


def _random_weight(name: str, size: tuple[int, ...], shape: Shape) -> Tensor:
    is_embedding = name == _EMBEDDINGS
    deviation = shape.embedding_deviation if is_embedding else shape.deviation
    weight = torch.empty(size, dtype=torch.bfloat16).normal_(std=deviation)
    if is_embedding:
        weight[FIRST_LOCATION : FIRST_LOCATION + LOCATIONS] *= shape.likely_locations
        weight[EOS] *= shape.likely_end
    if "vision" in name and "norm" in name and name.endswith("weight"):
        weight += 1  # those of the language model are stored without their 1
    return weight


def _bytes(size: Sequence[int]) -> int:
    return math.prod(size) * torch.bfloat16.itemsize


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
