"""Gemma 2's layers over a key-value cache of fixed slots, each with a length of its own.

The weights and their meaning are those of transformers' `Gemma2Model` (`models/gemma2/modeling_gemma2.py`). Only the
way to run them differs. The query heads that share a key-value head are folded into the query axis, so keys and values
are not repeated. Image and prompt attend to each other in both directions, so the only attention mask is the end of a
sequence. Sliding windows are not applied: they begin at 4096 positions, which no prompt reaches, and big_vision does
not use them.

float16 ends at 65,504, and the residuals and feed-forward products of Gemma models exceed it (vLLM's pull request 17364
and unsloth-zoo's 600, of Gemma's next versions). In float16 the residuals are therefore kept in float32, and the
product is scaled down, which the normalization after it undoes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention

_FLOAT16_PRODUCT_SCALE = 2.0**-6
"""A power of two, so that only the smallest products lose digits."""


@dataclass(frozen=True)
class _Layer:
    """The weights of one layer, joined so that a step needs few large matrix products. Quantized ones stay apart."""

    query_key_value: tuple[Tensor, ...]
    output: Tensor
    gate_up: tuple[Tensor, ...]
    down: Tensor
    norms: tuple[Tensor, Tensor, Tensor, Tensor]
    """1 + weight, float32: before and after attention, before and after the feed-forward network."""


class GemmaLayers:
    """All layers and their key-value cache. Not safe to share between threads."""

    def __init__(self, model: Any, *, slots: int, capacity: int) -> None:
        """`model` is a `Gemma2Model` on its device. `capacity` is the number of positions per slot."""
        config = model.config
        self._heads: int = config.num_attention_heads
        self._kv_heads: int = config.num_key_value_heads
        self._head_dim: int = config.head_dim
        self._scale: float = config.query_pre_attn_scalar**-0.5
        self._softcap: float | None = config.attn_logit_softcapping
        self._epsilon: float = config.rms_norm_eps
        self._activation = model.layers[0].mlp.act_fn
        self._layers = [_fuse(layer) for layer in model.layers]
        self._last_norm = 1 + model.norm.weight.float()
        weight = model.embed_tokens.weight
        self._dtype: torch.dtype = weight.dtype
        is_float16 = self._dtype == torch.float16
        self._residual_dtype = torch.float32 if is_float16 else self._dtype
        self._product_scale = _FLOAT16_PRODUCT_SCALE if is_float16 else 1.0
        shape = (len(self._layers), 2, slots, self._kv_heads, capacity, self._head_dim)
        self._cache = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        positions = torch.arange(1, capacity + 1, device=weight.device)[None]  # PaliGemma counts positions from 1
        cosines, sines = model.rotary_emb(weight, positions)
        self._cosines, self._sines = cosines[0], sines[0]
        self._index = torch.arange(capacity, device=weight.device)

    @staticmethod
    def slot_bytes(config: Any, capacity: int, itemsize: int) -> int:
        """Bytes of one slot of the cache, for a `Gemma2Config`."""
        per_position: int = config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * itemsize
        return per_position * capacity

    def prefill(self, embedded: Tensor, lengths: Tensor, slots: Tensor) -> Tensor:
        """Compute image and prompt of each sequence into the cache. Every position attends to all of them.

        Args:
            embedded: [B, L, hidden]. Positions after the length of a sequence are padding.
            lengths: int64[B], at most L.
            slots: int64[B].

        Returns:
            [B, hidden] at each sequence's last position.
        """
        batch, length, _ = embedded.shape
        rotation = self._cosines[:length], self._sines[:length]
        mask = (self._index[:length] < lengths[:, None])[:, None, None, :]
        x = embedded.to(self._residual_dtype)
        for layer, cache in zip(self._layers, self._cache, strict=True):
            queries, keys, values = self._project(layer, x, rotation)
            cache[0, :, :, :length].index_copy_(0, slots, keys)
            cache[1, :, :, :length].index_copy_(0, slots, values)
            x = self._finish_layer(layer, x, self._attend(queries, keys, values, mask))
        return self._norm(x[torch.arange(batch, device=x.device), lengths - 1], self._last_norm).to(self._dtype)

    def decode(self, embedded: Tensor, lengths: Tensor, visible: int) -> Tensor:
        """Compute one more position for each of the slots 0 .. B - 1.

        Args:
            embedded: [B, hidden].
            lengths: int64[B], number of positions that each slot has already.
            visible: more than all lengths. Only this part of the cache is read.

        Returns:
            [B, hidden].
        """
        batch = len(embedded)
        rotation = self._cosines[lengths][:, None, None], self._sines[lengths][:, None, None]
        mask = (self._index[:visible] <= lengths[:, None])[:, None, None, :]
        rows = self._index[:batch]
        x = embedded[:, None].to(self._residual_dtype)
        for layer, cache in zip(self._layers, self._cache, strict=True):
            queries, keys, values = self._project(layer, x, rotation)
            cache[0, rows, :, lengths] = keys[:, :, 0]
            cache[1, rows, :, lengths] = values[:, :, 0]
            seen = cache[:, :batch, :, :visible]
            x = self._finish_layer(layer, x, self._attend(queries, seen[0], seen[1], mask))
        return self._norm(x[:, 0], self._last_norm).to(self._dtype)

    def _project(self, layer: _Layer, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """[B, L, hidden] -> queries [B, heads, L, D], keys and values [B, kv_heads, L, D], rotated by position."""
        projected = _joint_linear(self._norm(x, layer.norms[0]).to(self._dtype), layer.query_key_value)
        split = projected.view(*x.shape[:2], -1, self._head_dim).transpose(1, 2)
        rotated = _rotate(split[:, : self._heads + self._kv_heads], *rotation)
        return rotated[:, : self._heads], rotated[:, self._heads :], split[:, self._heads + self._kv_heads :]

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """[B, heads, Q, D] over [B, kv_heads, L, D], mask bool[B, 1, 1, L] -> [B, Q, heads * D]."""
        batch, _, length, _ = queries.shape
        folded = queries.reshape(batch, self._kv_heads, -1, self._head_dim)
        if self._softcap is None:
            mixed = scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=self._scale)
        else:
            scores = self._softcap * torch.tanh(folded @ keys.transpose(-1, -2) * self._scale / self._softcap)
            weights = scores.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.float32)
            mixed = weights.to(values.dtype) @ values
        return mixed.reshape(batch, self._heads, length, self._head_dim).transpose(1, 2).reshape(batch, length, -1)

    def _finish_layer(self, layer: _Layer, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self._norm(linear(attended, layer.output), layer.norms[1]).to(x.dtype)
        normed = self._norm(x, layer.norms[2]).to(self._dtype)
        gate, up = _joint_linear(normed, layer.gate_up).chunk(2, -1)
        gate = self._activation(gate)
        if self._product_scale != 1:
            gate = gate * self._product_scale
        product = linear(gate * up, layer.down)
        return x + self._norm(product, layer.norms[3], self._product_scale).to(x.dtype)

    def _norm(self, x: Tensor, weight: Tensor, scale: float = 1.0) -> Tensor:
        """Gemma's RMSNorm of x / scale, in float32. The caller rounds the product with the weight."""
        return rms_norm(x.float(), weight.shape, weight, self._epsilon * scale**2)


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary position embedding with split halves, as in GPT-NeoX: [..., L, D] by [L, D] or a shape that broadcasts."""
    first, second = x.chunk(2, -1)
    return x * cosines + torch.cat([-second, first], -1) * sines


def _fuse(layer: Any) -> _Layer:
    attention, network = layer.self_attn, layer.mlp
    norms = (
        layer.input_layernorm,
        layer.post_attention_layernorm,
        layer.pre_feedforward_layernorm,
        layer.post_feedforward_layernorm,
    )
    first, second, third, fourth = (1 + norm.weight.float() for norm in norms)
    return _Layer(
        query_key_value=_joined(attention.q_proj, attention.k_proj, attention.v_proj),
        output=attention.o_proj.weight,
        gate_up=_joined(network.gate_proj, network.up_proj),
        down=network.down_proj.weight,
        norms=(first, second, third, fourth),
    )


def is_quantized(weight: Tensor) -> bool:
    """Whether a weight is stored in fewer bits than it is computed in: a tensor of torchao."""
    return type(weight.data) is not Tensor


def _joint_linear(x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """The outputs of several projections of x, one after the other in the last dimension."""
    outputs = [linear(x, weight) for weight in weights]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)


def _joined(*projections: Any) -> tuple[Tensor, ...]:
    """One weight for the outputs of several projections. Their own weights become views of it, so memory has them
    once. Quantized weights have a layout of their own, and stay as they are."""
    if is_quantized(projections[0].weight):
        return tuple(each.weight for each in projections)
    joined = torch.cat([each.weight.detach() for each in projections])
    parts = joined.split([len(each.weight) for each in projections])
    for projection, part in zip(projections, parts, strict=True):
        projection.weight = Parameter(part, requires_grad=False)
    return (joined,)
