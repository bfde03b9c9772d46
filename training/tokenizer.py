"""A small tokenizer with PaliGemma's kinds of tokens: text pieces, 1024 locations and 128 mask codes."""

from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from scenes.phrases import FOREIGN_WORDS
from scenes.vocabulary import Vocabulary
from shared.domain.paligemma import CODEBOOK_SIZE, LOCATIONS, TASK, location_token, mask_token

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>")
BYTE_TOKENS = tuple(f"<0x{value:02X}>" for value in range(256))
LOCATION_TOKENS = tuple(map(location_token, range(LOCATIONS)))
CODE_TOKENS = tuple(map(mask_token, range(CODEBOOK_SIZE)))
IMAGE_TOKEN = "<image>"
NEWLINE = "\n"
SPACE = "▁"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789;,.-'"
BASE_PIECES, PIECES_PER_WORD = 240, 5
"""Sizes of the byte-pair vocabulary: enough for every word to become one piece."""


def _pieces(words: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str]]]:
    """Byte-pair pieces and merges: every word of the vocabulary is one token, a foreign word is a few."""
    known = [TASK, ";", *(SPACE + word for word in (";", *words))]
    corpus = known * 50 + [SPACE + word for word in FOREIGN_WORDS] + [SPACE]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_PIECES + PIECES_PER_WORD * len(words),
        initial_alphabet=[SPACE, *LETTERS],
        limit_alphabet=len(LETTERS) + 1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [(piece[:cut], piece[cut:]) for piece in pieces for cut in _cuts(piece, vocabulary)]
    return pieces, merges


def _cuts(piece: str, vocabulary: dict[str, int]) -> list[int]:
    """Positions where ``piece`` splits into two pieces that were learnt before it."""
    cuts = [cut for cut in range(1, len(piece)) if piece[:cut] in vocabulary and piece[cut:] in vocabulary]
    return [cut for cut in cuts if max(vocabulary[piece[:cut]], vocabulary[piece[cut:]]) < vocabulary[piece]]


@cache
def build_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Build the tokenizer for these words. It lowercases, and any text tokenizes (unknown letters as bytes)."""
    pieces, merges = _pieces(vocabulary.words)
    words = [*SPECIAL_TOKENS, *BYTE_TOKENS, *pieces]
    indices = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(indices, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(word, normalized=False) for word in (*SPECIAL_TOKENS, IMAGE_TOKEN)])
    plain = (NEWLINE, *LOCATION_TOKENS, *CODE_TOKENS)
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in plain])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
