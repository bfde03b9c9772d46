"""The architecture of the demo model, and the weights that it starts from."""

import numpy as np
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    SiglipVisionConfig,
)

from scenes.vocabulary import Vocabulary
from training.token_ids import token_ids
from training.tokenizer import CODE_TOKENS, IMAGE_TOKEN, LOCATION_TOKENS, build_tokenizer

IMAGE_SIZE = 224
PATCH_SIZE = 28
GRID = IMAGE_SIZE // PATCH_SIZE
IMAGE_TOKENS = GRID * GRID
WIDTH = 192
HEADS = 4
LAYERS = 5
POSITION_AMPLITUDE = 0.7
MAX_ANSWER_TOKENS = 160
"""Enough for six objects with two-word labels. A scene has at most five objects."""


def _model_config(vocabulary: Vocabulary) -> PaliGemmaConfig:
    """A PaliGemma 2 configuration of five million parameters."""
    tokenizer = build_tokenizer(vocabulary)
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    vision = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        vision_use_head=False,
    )
    text = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        head_dim=WIDTH // HEADS,
        query_pre_attn_scalar=WIDTH // HEADS,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        max_position_embeddings=1024,
        **special,
    )
    return PaliGemmaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vocab_size=len(tokenizer),
        projection_dim=WIDTH,
        hidden_size=WIDTH,
        tie_word_embeddings=True,
        **special,
    )


def new_model(seed: int, vocabulary: Vocabulary) -> PaliGemmaForConditionalGeneration:
    """An untrained model for these words. Position, patch and location embeddings start as waves instead of noise."""
    torch.manual_seed(seed)
    model = PaliGemmaForConditionalGeneration(_model_config(vocabulary))
    with torch.no_grad():
        _start_vision(model)
        _start_embeddings(model, token_ids(vocabulary).first_location)
    return model


def _start_vision(model: PaliGemmaForConditionalGeneration) -> None:
    """Start patch filters as low frequencies, to detect edges inside a patch at once; positions as waves."""
    embeddings = model.model.vision_tower.embeddings
    embeddings.patch_embedding.weight.copy_(_patch_filters())
    embeddings.patch_embedding.bias.zero_()
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    waves = [_waves(axis.flatten() / GRID, WIDTH // 2, 0.25, GRID / 2) for axis in (rows, columns)]
    embeddings.position_embedding.weight.copy_(torch.cat(waves, dim=1) * POSITION_AMPLITUDE * 2**0.5)


def _start_embeddings(model: PaliGemmaForConditionalGeneration, first: int) -> None:
    """Start token embeddings at unit length; locations as waves of their value, so that neighbours are similar."""
    table = model.get_input_embeddings().weight
    table.normal_(std=WIDTH**-0.5)
    values = torch.arange(len(LOCATION_TOKENS)) / (len(LOCATION_TOKENS) - 1)
    table[first : first + len(LOCATION_TOKENS)] = number_waves(values)
    model.tie_weights()


def number_waves(values: Tensor) -> Tensor:
    """float[N] in 0..1 -> float[N, 192] of unit length: location tokens at the start, and bins of the edge head."""
    return _waves(values, WIDTH, 0.25, 64.0) * (2 / WIDTH) ** 0.5


def _waves(values: Tensor, size: int, low: float, high: float) -> Tensor:
    """float[N] in 0..1 -> float[N, size]: sines and cosines of ``low`` to ``high`` turns per unit."""
    turns = torch.logspace(np.log10(low), np.log10(high), size // 2)
    angles = 2 * torch.pi * values[:, None] * turns
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _patch_filters() -> Tensor:
    """float[192, 3, 28, 28]: the 8 x 8 lowest cosine frequencies of light and of two colour differences."""
    positions = (torch.arange(PATCH_SIZE) + 0.5) / PATCH_SIZE
    waves = torch.cos(torch.pi * torch.arange(8)[:, None] * positions)
    waves /= waves.norm(dim=1, keepdim=True)
    planes = torch.einsum("ay,bx->abyx", waves, waves).reshape(64, PATCH_SIZE, PATCH_SIZE)
    colors = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    colors /= colors.norm(dim=1, keepdim=True)
    filters = torch.einsum("cr,fyx->cfryx", colors, planes)
    # Edges have most of their energy in low frequencies. The gain brings all filter outputs to about 0.6.
    frequency = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0)).norm(dim=1)
    gain = 1.3 * (1 + frequency) ** 2 / PATCH_SIZE
    return (filters * gain[None, :, None, None, None]).reshape(WIDTH, 3, PATCH_SIZE, PATCH_SIZE)


def _code_embeddings(codebook: Tensor) -> Tensor:
    """float[128, 512] -> float[128, 192] of unit length: codes for similar masks start similar."""
    centred = codebook - codebook.mean(dim=0)
    projection = torch.randn(codebook.shape[1], WIDTH, generator=torch.Generator().manual_seed(0))
    rows = centred @ projection
    return rows / rows.norm(dim=1, keepdim=True)


def set_code_embeddings(model: PaliGemmaForConditionalGeneration, first: int, codebook: Tensor) -> None:
    """Start the embeddings of mask-code tokens, from id ``first`` on, from the VQ-VAE's codebook, float[128, 512]."""
    with torch.no_grad():
        model.get_input_embeddings().weight[first : first + len(CODE_TOKENS)] = _code_embeddings(codebook)
