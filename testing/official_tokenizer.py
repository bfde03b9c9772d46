"""A tokenizer in the form of PaliGemma's: the same files, the same number of tokens and the same ids of its special
tokens. Only the pieces of words are others.

It is byte-pair encoding with byte fallback, as Gemma's: 256,000 tokens, then 1,024 location tokens, 128 mask tokens
and `<image>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from shared.domain.paligemma import CODEBOOK_SIZE, LOCATIONS, location_token, mask_token

GEMMA_TOKENS = 256_000
FIRST_LOCATION = GEMMA_TOKENS
FIRST_MASK = FIRST_LOCATION + LOCATIONS
IMAGE_TOKEN = FIRST_MASK + CODEBOOK_SIZE
"""Its id: 257,152. The embeddings have 64 rows from here on."""
EOS = 1
_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
_SPACE = "▁"
_WORDS = ["segment", "red", "blue", "green", "circle", "square", "star", "cat", "dog", "left", "hand", "the", "of", "a"]


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and the files that transformers 4 writes beside it."""
    _tokenizer().save(str(folder / "tokenizer.json"))
    special = {name.strip("<>"): _as_json(name, is_special=True) for name in _SPECIAL[:4]}
    words = {f"{name}_token": value for name, value in special.items()}
    image = _as_json("<image>", is_special=True)
    _write(folder / "special_tokens_map.json", {**words, "additional_special_tokens": [image]})
    _write(folder / "added_tokens.json", {"<image>": IMAGE_TOKEN})
    _write(folder / "tokenizer_config.json", _tokenizer_config())
    (folder / "tokenizer.model").write_bytes(b"in place of the SentencePiece file, which nobody reads" * 100)


def _tokenizer() -> Tokenizer:
    pieces, merges = _pieces()
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(each, normalized=False) for each in [*_SPECIAL, "<image>"]])
    tokenizer.add_tokens([AddedToken(each, normalized=False) for each in _spatial()])
    return tokenizer


def _pieces() -> tuple[list[str], list[tuple[str, str]]]:
    """All tokens but `<image>` in the order of their ids, and the merges that make words. Pieces that no merge makes
    fill the rest: a model can write them, and no prompt contains them."""
    merges = list(dict.fromkeys(_merges()))
    letters = {letter for word in _WORDS for letter in word} | {chr(code) for code in range(33, 127)} | {_SPACE}
    known = [*_SPECIAL, "<2mass>", "[@BOS@]", *(f"<unused{number}>" for number in range(99))]
    known += ["<start_of_turn>", "<end_of_turn>", *("\n" * count for count in range(1, 32))]
    known += [f"<0x{byte:02X}>" for byte in range(256)]
    known += dict.fromkeys([*sorted(letters), *(first + second for first, second in merges)])
    filling = [f"{_SPACE}w{number:06d}" for number in range(GEMMA_TOKENS - len(known))]
    return [*known, *filling, *_spatial()], merges


def _merges() -> Iterator[tuple[str, str]]:
    """Pairs that make each word letter by letter, and then the word after a space."""
    for word in _WORDS:
        for end in range(1, len(word)):
            yield word[:end], word[end]
        yield _SPACE, word


def _spatial() -> Sequence[str]:
    return [*map(location_token, range(LOCATIONS)), *map(mask_token, range(CODEBOOK_SIZE))]


def _tokenizer_config() -> dict[str, Any]:
    special = {index: _as_json(name, is_special=True) for index, name in enumerate(_SPECIAL)}
    spatial = {FIRST_LOCATION + index: _as_json(name, is_special=False) for index, name in enumerate(_spatial())}
    added = {**special, **spatial, IMAGE_TOKEN: _as_json("<image>", is_special=True)}
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {str(index): value for index, value in added.items()},
        "additional_special_tokens": ["<image>"],
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "extra_special_tokens": {},
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "processor_class": "PaliGemmaProcessor",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }


def _as_json(content: str, *, is_special: bool) -> dict[str, Any]:
    """An added token as the files of transformers describe it."""
    sides = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {"content": content, **sides, "special": is_special}


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
