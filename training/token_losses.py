"""Second stage: teach the language model to say what was asked for, where it is and how it is cut.

Next-token loss with most weight on the choices that decide everything (the first token, locations, whether to go on),
and two throw-away helpers: image positions say whether they show what was asked, and chosen attention heads look at
the object that a token is read from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PaliGemmaForConditionalGeneration

from scenes.layout import LATTICE_STEP
from shared.domain.paligemma import LOCATION_SCALE
from training.batches import FIRST_LOCATION, IGNORED, Batch
from training.model import IMAGE_TOKENS, WIDTH
from training.patch_losses import BINS

MATCH_LAYER, NEXT_LAYER = 2, 3
"""After how many layers the image positions are asked: was I asked for, and does the answer begin with me?"""
LOOKING_LAYERS, LOOKING_HEADS = (2, 3, 4), (0, 2)
"""Layers (from 0) and heads that must look at the object in question; one head of each key-value group."""
LATTICE = torch.tensor([FIRST_LOCATION + min(step * LATTICE_STEP, LOCATION_SCALE) for step in range(BINS)])
HIDDEN = -1e9
WEIGHTS = {"token": 1.0, "look": 0.2, "match": 0.5, "next": 0.5}


class Helpers(nn.Module):
    """Throw-away linear readings of image positions in the middle of the language model."""

    def __init__(self) -> None:
        super().__init__()
        self.match = nn.Linear(WIDTH, 1)
        self.next = nn.Linear(WIDTH, 1)

    def losses(self, hidden: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """``hidden``: float[B, T, 192] a layer, the embeddings first."""
        asked = ((self.match, MATCH_LAYER, batch.matches), (self.next, NEXT_LAYER, batch.next_object))
        losses = []
        for reading, layer, truth in asked:
            state = functional.rms_norm(hidden[layer][:, :IMAGE_TOKENS].float(), (WIDTH,))
            losses.append(functional.binary_cross_entropy_with_logits(reading(state)[..., 0], truth.float()))
        return {"match": losses[0], "next": losses[1]}


@dataclass(frozen=True)
class Thoughts:
    """What the language model makes of a batch."""

    logits: Tensor
    """float32[N, vocabulary] at the N positions that are taught, row by row."""
    hidden: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...]
    """One float[B, heads, T, T] a layer."""


def think(model: PaliGemmaForConditionalGeneration, features: Tensor, batch: Batch) -> Thoughts:
    """Run the language model over projected image features float[B, 64, 192] and the sentences of ``batch``."""
    with torch.autocast("cpu", torch.bfloat16):
        embedded = model.get_input_embeddings()(batch.tokens)
        embedded = torch.cat([features.to(embedded.dtype), embedded[:, IMAGE_TOKENS:]], dim=1)
        mask = torch.where(batch.visible, 0.0, HIDDEN).to(torch.bfloat16)[:, None]
        output = model.model.language_model(
            inputs_embeds=embedded,
            attention_mask={"full_attention": mask, "sliding_attention": mask},
            position_ids=torch.arange(1, embedded.shape[1] + 1)[None],
            use_cache=False,
            output_hidden_states=True,
            output_attentions=True,
        )
        logits = model.lm_head(output.last_hidden_state[batch.targets != IGNORED])
    return Thoughts(logits.float(), output.hidden_states, output.attentions)


def token_loss(logits: Tensor, batch: Batch, softness: float) -> Tensor:
    """Weighted cross entropy; a location counts as a bell of ``softness`` lattice steps around the exact edge."""
    taught = batch.targets != IGNORED
    targets, weights, edges = batch.targets[taught], batch.weights[taught], batch.edges[taught]
    log_probabilities = logits.log_softmax(dim=-1)
    losses = -log_probabilities.gather(1, targets[:, None])[:, 0]
    located = edges >= 0
    distance = torch.arange(BINS) - edges[located, None] * (LOCATION_SCALE / LATTICE_STEP)
    bell = torch.softmax(-0.5 * (distance / softness) ** 2, dim=-1)
    losses = losses.masked_scatter(located, -(bell * log_probabilities[located][:, LATTICE]).sum(dim=-1))
    return (losses * weights).sum() / weights.sum()


def look_loss(attentions: tuple[Tensor, ...], batch: Batch) -> Tensor:
    """Minus the log of the attention that the looking heads give to the patches of the object in question."""
    row, position = batch.looks.any(dim=-1).nonzero(as_tuple=True)
    patches = batch.looks[row, position].float()
    losses = []
    for layer in LOOKING_LAYERS:
        for head in LOOKING_HEADS:
            given = attentions[layer][row, head, position, :IMAGE_TOKENS].float()
            losses.append(-(given * patches).sum(dim=-1).clamp(min=1e-4).log().mean())
    return torch.stack(losses).mean()


def sentence_losses(
    model: PaliGemmaForConditionalGeneration, helpers: Helpers, features: Tensor, batch: Batch, softness: float
) -> dict[str, Tensor]:
    """Every loss of one batch of sentences over image features float[B, 64, 192]."""
    thoughts = think(model, features, batch)
    return {
        "token": token_loss(thoughts.logits, batch, softness),
        "look": look_loss(thoughts.attentions, batch),
        **helpers.losses(thoughts.hidden, batch),
    }


def location_softness(done: float) -> float:
    """Width of the bell around an edge, in lattice steps; narrow enough at the end to beat a wrong end-token."""
    return max(0.4, 1.5 * (1 - done))
