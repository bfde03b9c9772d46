"""Losses on token sequences: what the language model learns.

A next-token loss, with most weight on the tokens that matter most (the first token, locations, whether the answer
continues), and two auxiliary tasks. Auxiliary heads predict from image positions whether they show an object that the
prompt names. Some attention heads are trained to attend to the object that a token describes. The auxiliary heads are
not exported.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PaliGemmaForConditionalGeneration

from scenes.layout import LATTICE_STEP
from shared.domain.paligemma import LOCATION_SCALE
from training.batches import IGNORED, Batch
from training.model import IMAGE_TOKENS, WIDTH
from training.token_ids import BINS

MATCH_LAYER, FIRST_OBJECT_LAYER = 2, 3
"""Number of layers before the inputs of the two auxiliary heads."""
ATTENTION_LAYERS, ATTENTION_HEADS = (2, 3, 4), (0, 2)
"""Layers (from 0) and heads that must attend to the described object; one head of each key-value group."""
MASKED = -1e9
"""Added to the attention logits of masked positions."""
WEIGHTS = {"token": 1.0, "attention": 0.2, "match": 0.5, "first_object": 0.5}


class AuxiliaryHeads(nn.Module):
    """Linear layers over image positions in the middle of the language model, for training only.

    They predict whether a patch shows an object that the prompt names, and whether it is the first of the answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.match = nn.Linear(WIDTH, 1)
        self.first_object = nn.Linear(WIDTH, 1)

    def losses(self, hidden: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """``hidden`` has one float[B, T, 192] for each layer, starting with the embeddings."""
        tasks = (
            (self.match, MATCH_LAYER, batch.matches),
            (self.first_object, FIRST_OBJECT_LAYER, batch.first_object),
        )
        losses = []
        for head, layer, truth in tasks:
            state = functional.rms_norm(hidden[layer][:, :IMAGE_TOKENS].float(), (WIDTH,))
            losses.append(functional.binary_cross_entropy_with_logits(head(state)[..., 0], truth.float()))
        return {"match": losses[0], "first_object": losses[1]}


@dataclass(frozen=True)
class LanguageOutput:
    """Output of the language model for a batch."""

    logits: Tensor
    """float32[N, vocabulary] at the N positions with a target, row by row."""
    hidden: tuple[Tensor, ...]
    """One float[B, T, 192] for each layer, starting with the embeddings."""
    attentions: tuple[Tensor, ...]
    """One float[B, heads, T, T] for each layer."""


def run_language_model(model: PaliGemmaForConditionalGeneration, features: Tensor, batch: Batch) -> LanguageOutput:
    """Run the language model over projected image features float[B, 64, 192] and the sequences of ``batch``."""
    with torch.autocast("cpu", torch.bfloat16):
        embedded = model.get_input_embeddings()(batch.tokens)
        embedded = torch.cat([features.to(embedded.dtype), embedded[:, IMAGE_TOKENS:]], dim=1)
        mask = torch.where(batch.visible, 0.0, MASKED).to(torch.bfloat16)[:, None]
        output = model.model.language_model(
            inputs_embeds=embedded,
            attention_mask={"full_attention": mask, "sliding_attention": mask},
            position_ids=torch.arange(1, embedded.shape[1] + 1)[None],
            use_cache=False,
            output_hidden_states=True,
            output_attentions=True,
        )
        logits = model.lm_head(output.last_hidden_state[batch.targets != IGNORED])
    return LanguageOutput(logits.float(), output.hidden_states, output.attentions)


def token_loss(logits: Tensor, batch: Batch, softness: float) -> Tensor:
    """Weighted cross entropy. The target of a location is a Gaussian around the exact edge.

    Its standard deviation is ``softness`` lattice steps.
    """
    has_target = batch.targets != IGNORED
    targets, weights, edges = batch.targets[has_target], batch.weights[has_target], batch.edges[has_target]
    log_probabilities = logits.log_softmax(dim=-1)
    losses = -log_probabilities.gather(1, targets[:, None])[:, 0]
    located = edges >= 0
    distance = torch.arange(BINS) - edges[located, None] * (LOCATION_SCALE / LATTICE_STEP)
    gaussian = torch.softmax(-0.5 * (distance / softness) ** 2, dim=-1)
    losses = losses.masked_scatter(located, -(gaussian * log_probabilities[located][:, batch.lattice]).sum(dim=-1))
    return (losses * weights).sum() / weights.sum()


def attention_loss(attentions: tuple[Tensor, ...], batch: Batch) -> Tensor:
    """Mean negative log of the attention that the chosen heads give to the patches of the described object."""
    row, position = batch.attended.any(dim=-1).nonzero(as_tuple=True)
    patches = batch.attended[row, position].float()
    losses = []
    for layer in ATTENTION_LAYERS:
        for head in ATTENTION_HEADS:
            weights = attentions[layer][row, head, position, :IMAGE_TOKENS].float()
            losses.append(-(weights * patches).sum(dim=-1).clamp(min=1e-4).log().mean())
    return torch.stack(losses).mean()


def sequence_losses(
    model: PaliGemmaForConditionalGeneration, heads: AuxiliaryHeads, features: Tensor, batch: Batch, softness: float
) -> dict[str, Tensor]:
    """All losses of one batch, with image features float[B, 64, 192]."""
    output = run_language_model(model, features, batch)
    return {
        "token": token_loss(output.logits, batch, softness),
        "attention": attention_loss(output.attentions, batch),
        **heads.losses(output.hidden, batch),
    }


def location_softness(done: float) -> float:
    """Standard deviation around an edge in lattice steps, from 1.5 to 0.4; ``done`` is in 0..1.

    It ends so narrow that the right location is likelier than a wrong end token.
    """
    return max(0.4, 1.5 * (1 - done))
