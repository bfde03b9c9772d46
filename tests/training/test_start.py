"""A model that starts from the weights of another: what it takes over, and where its new words point."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity
from transformers import PaliGemmaForConditionalGeneration, PreTrainedTokenizerFast

from scenes.vocabulary import EMOJI, SHAPES, Vocabulary
from shared.domain.paligemma import location_token
from training.model import new_model
from training.start import set_kind_embeddings, start_from
from training.token_ids import token_ids
from training.tokenizer import build_tokenizer


@pytest.mark.parametrize("vocabulary", [SHAPES, EMOJI], ids=["shapes", "emoji"])
def test_each_word_is_one_token(vocabulary: Vocabulary) -> None:
    ids = token_ids(vocabulary)
    assert [ids.of(f" {kind}") for kind in vocabulary.kinds] == [(kind,) for kind in ids.kinds]
    assert all(len(ids.of(f" {word}")) == 1 for word in vocabulary.words)


def test_the_tokenizer_of_shapes_is_that_of_the_demo_checkpoint(root: Path) -> None:
    shipped = PreTrainedTokenizerFast.from_pretrained(root / "models" / "demo")
    assert shipped.get_vocab() == build_tokenizer(SHAPES).get_vocab()


@pytest.fixture
def started(root: Path) -> PaliGemmaForConditionalGeneration:
    model = new_model(0, EMOJI)
    start_from(model, EMOJI, root / "models" / "demo")
    return model


@pytest.mark.slow
def test_all_weights_and_the_embeddings_of_shared_tokens_are_taken_over(
    started: PaliGemmaForConditionalGeneration, root: Path
) -> None:
    demo = PaliGemmaForConditionalGeneration.from_pretrained(root / "models" / "demo", dtype=torch.float32)
    fresh = new_model(0, EMOJI).get_input_embeddings().weight
    ours, theirs = dict(started.named_parameters()), dict(demo.named_parameters())
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == ["model.language_model.embed_tokens.weight"]
    mine, other = started.get_input_embeddings().weight, demo.get_input_embeddings().weight
    old, new = (build_tokenizer(words).get_vocab() for words in (SHAPES, EMOJI))
    for token in (location_token(0), location_token(1023), "<seg127>", "<bos>", "\n", "segment", "▁;"):
        assert torch.equal(mine[new[token]], other[old[token]]), token
    assert "▁guitar" not in old
    assert torch.equal(mine[new["▁guitar"]], fresh[new["▁guitar"]])
    assert started.lm_head.weight is started.get_input_embeddings().weight


@pytest.mark.slow
def test_the_embedding_of_a_kind_points_where_its_patches_are(started: PaliGemmaForConditionalGeneration) -> None:
    directions = torch.randn(len(EMOJI.kinds), 192, generator=torch.Generator().manual_seed(0)) + 3
    before = started.get_input_embeddings().weight.clone()
    set_kind_embeddings(started, EMOJI, directions)
    table, kinds = started.get_input_embeddings().weight, list(token_ids(EMOJI).kinds)
    similar = cosine_similarity(table[kinds][:, None], (directions - directions.mean(dim=0))[None], dim=-1)
    assert similar.argmax(dim=1).tolist() == list(range(len(kinds)))
    assert torch.allclose(similar.diag(), torch.ones(len(kinds)), atol=1e-5)
    others = [index for index in range(len(table)) if index not in kinds]
    assert torch.equal(table[others], before[others])
