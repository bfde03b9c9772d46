"""The numbers in the registry are those of the models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    Gemma2Config,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    SiglipVisionConfig,
)

from shared import registry
from shared.registry import read_registry
from shared.settings import EngineSettings, ModelSettings
from worker.engine.gemma import GemmaLayers
from worker.loading.checkpoint import Checkpoint

_TEXT = {  # hidden, intermediate, layers, heads, key-value heads, head size: arXiv 2408.00118, table 1
    "3b": (2304, 9216, 26, 8, 4, 256),
    "10b": (3584, 14336, 42, 16, 8, 256),
    "28b": (4608, 36864, 46, 32, 16, 128),
}
_VOCABULARY = 257_216
"""Gemma's 256,000 tokens, 1,024 location tokens, 128 mask tokens and 64 unused ones."""


def _model(size: str, resolution: int) -> PaliGemmaForConditionalGeneration:
    """The class of transformers with the published sizes. No weights are allocated."""
    hidden, intermediate, layers, heads, kv_heads, head = _TEXT[size]
    text = Gemma2Config(
        vocab_size=_VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head,
    )
    vision = SiglipVisionConfig(  # So400m/14
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=27,
        num_attention_heads=16,
        image_size=resolution,
        patch_size=14,
        vision_use_head=False,
    )
    with torch.device("meta"):
        config = PaliGemmaConfig(vision_config=vision, text_config=text, projection_dim=hidden)
        return PaliGemmaForConditionalGeneration(config)


def _linear_parameters(module: torch.nn.Module) -> int:
    return sum(each.weight.numel() for each in module.modules() if isinstance(each, torch.nn.Linear))


@pytest.mark.parametrize("size", _TEXT)
def test_parameters_are_those_of_the_published_shapes(root: Path, size: str) -> None:
    entries = {
        name: entry
        for name, entry in read_registry(ModelSettings(models_dir=root / "models")).items()
        if f"-{size}-" in name
    }
    assert len(entries) == 5
    models = {resolution: _model(size, resolution) for resolution in (224, 448, 896)}
    for name, entry in entries.items():
        model = models[entry.resolution or 0]
        assert entry.parameters == sum(value.numel() for value in model.parameters()), name
        assert entry.layers == _linear_parameters(model.model.language_model.layers), name
        assert _linear_parameters(model.model.vision_tower) == registry._VISION_LAYERS


def test_the_demo_s_numbers_are_those_of_its_files(root: Path, demo: Checkpoint) -> None:
    entry = read_registry(ModelSettings(models_dir=root / "models"))["demo"]
    assert entry.parameters == sum(value.numel() for value in demo.model.parameters())
    assert entry.image_tokens == demo.processor.image_seq_length
    assert entry.resolution == demo.model.config.vision_config.image_size


def test_the_page_says_what_fits_where(root: Path) -> None:
    """The memory of the weights, and of the cache for a full batch, with the default settings."""
    entries, engine = read_registry(ModelSettings(models_dir=root / "models")), EngineSettings()
    rows = []
    for size, (_, _, layers, _, kv_heads, head) in _TEXT.items():
        for resolution in (224, 448, 896):
            entry = entries[f"google/paligemma2-{size}-pt-{resolution}"]
            tokens = (entry.image_tokens or 0) + engine.max_prompt_tokens + engine.max_answer_tokens
            text = Gemma2Config(num_hidden_layers=layers, num_key_value_heads=kv_heads, head_dim=head)
            cache = engine.max_batch * GemmaLayers.slot_bytes(text, tokens, 2)
            weights = entry.weights_bytes("bfloat16") or 0
            small = (entry.quantized_bytes("int8") or 0, entry.quantized_bytes("int4") or 0)
            numbers = [f"{each / 1e9:.1f}" for each in (weights, *small, cache, weights + cache)]
            rows.append(f"| {size}, {resolution} px | {' | '.join(numbers)} |")
    page = (root / "docs" / "models.md").read_text("utf-8")
    assert [line for line in page.splitlines() if " px |" in line] == rows
