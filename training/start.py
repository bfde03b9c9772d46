"""Start a model from the weights of another one with other words, instead of random weights."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PaliGemmaForConditionalGeneration, PreTrainedTokenizerFast

from scenes.vocabulary import Vocabulary
from training.token_ids import token_ids
from training.tokenizer import build_tokenizer


@torch.no_grad()
def start_from(model: PaliGemmaForConditionalGeneration, vocabulary: Vocabulary, checkpoint: Path) -> None:
    """Copy all weights of a checkpoint folder. The embedding of a token is copied if both models have that token."""
    source = PaliGemmaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32, trust_remote_code=False)
    old, new = source.get_input_embeddings().weight, model.get_input_embeddings().weight.clone()
    old_ids = PreTrainedTokenizerFast.from_pretrained(checkpoint, trust_remote_code=False).get_vocab()
    shared = [
        (old_ids[token], index) for token, index in build_tokenizer(vocabulary).get_vocab().items() if token in old_ids
    ]
    old_rows, new_rows = map(list, zip(*shared, strict=True))
    new[new_rows] = old[old_rows]
    source.resize_token_embeddings(len(new), mean_resizing=False)
    model.load_state_dict(source.state_dict())
    model.get_input_embeddings().weight.copy_(new)
    model.tie_weights()


@torch.no_grad()
def set_kind_embeddings(model: PaliGemmaForConditionalGeneration, vocabulary: Vocabulary, directions: Tensor) -> None:
    """Point the embedding of each kind where its patches are.

    ``directions`` is float32[kinds, 192]: the weights that recognize a kind in the projector's output. A word and the
    patches that it names are then similar before the language model learns.
    """
    table, kinds = model.get_input_embeddings().weight, list(token_ids(vocabulary).kinds)
    centred = directions - directions.mean(dim=0)
    length = table[kinds].norm(dim=1).mean()
    table[kinds] = centred / centred.norm(dim=1, keepdim=True) * length
