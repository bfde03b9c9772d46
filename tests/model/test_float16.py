"""GPUs without bfloat16 run in float16, whose largest number is 65,504. Gemma's activations exceed it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import Gemma2Config, Gemma2Model

from worker.devices.accelerators import has_bfloat16
from worker.engine.gemma import GemmaLayers
from worker.loading.dtype import choose_dtype


@pytest.fixture
def model() -> Gemma2Model:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=32, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=16, attn_logit_softcapping=None,
    )  # fmt: skip
    return Gemma2Model(config).eval()


@torch.inference_mode()
def _hidden(model: Gemma2Model, dtype: torch.dtype) -> Tensor:
    """What the layers make of the same two sequences, after the prefill and after a decode step, in float32."""
    layers = GemmaLayers(copy.deepcopy(model).to(dtype), slots=2, capacity=16)
    torch.manual_seed(1)
    prefix, following = torch.randn(2, 8, 64).to(dtype), torch.randn(2, 64).to(dtype)
    lengths = torch.tensor([8, 5])
    first = layers.prefill(prefix, lengths, torch.tensor([0, 1]))
    return torch.stack([first, layers.decode(following, lengths, 16)]).float()


def _residuals_beyond_float16(model: Gemma2Model) -> None:
    for layer in model.layers:
        layer.post_attention_layernorm.weight.data += 30_000
        layer.post_feedforward_layernorm.weight.data += 30_000


def _products_beyond_float16(model: Gemma2Model) -> None:
    for layer in model.layers:
        layer.mlp.gate_proj.weight.data *= 2_000
        layer.mlp.up_proj.weight.data *= 2_000


@pytest.mark.parametrize("enlarge", [_residuals_beyond_float16, _products_beyond_float16])
def test_activations_beyond_float16_give_the_results_of_float32(model: Gemma2Model, enlarge: object) -> None:
    assert callable(enlarge)
    enlarge(model)
    expected, found = _hidden(model, torch.float32), _hidden(model, torch.float16)
    assert found.isfinite().all()
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_a_gpu_that_only_emulates_bfloat16_gets_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert choose_dtype("auto", "cuda", 1, gpu_has_bfloat16=has_bfloat16(cuda)) == "float16"
    assert choose_dtype("bfloat16", "cuda", 1, gpu_has_bfloat16=has_bfloat16(cuda)) == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert choose_dtype("auto", "cuda", 1, gpu_has_bfloat16=has_bfloat16(cuda)) == "bfloat16"
