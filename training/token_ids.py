"""The token ids of a tokenizer that training needs by name."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from scenes.layout import LATTICE_STEP
from scenes.vocabulary import Vocabulary
from shared.domain.paligemma import LOCATION_SCALE, LOCATIONS
from training.tokenizer import CODE_TOKENS, LOCATION_TOKENS, SPACE, build_tokenizer

BINS = LOCATIONS // LATTICE_STEP + 1
"""Number of lattice locations: 0, 8, ... 1016, 1023."""


@dataclass(frozen=True)
class TokenIds:
    """Ids of the tokens of a vocabulary's tokenizer."""

    vocabulary: Vocabulary
    first_location: int
    first_code: int
    end: int
    kinds: tuple[int, ...]
    """The one token of each kind, after a space."""

    def of(self, text: str) -> tuple[int, ...]:
        """Token ids of ``text``, without special tokens."""
        return _encode(self.vocabulary, text)

    @property
    def lattice(self) -> Tensor:
        """int64[129]: the lattice locations."""
        steps = [min(step * LATTICE_STEP, LOCATION_SCALE) for step in range(BINS)]
        return self.first_location + torch.tensor(steps)


@cache
def _encode(vocabulary: Vocabulary, text: str) -> tuple[int, ...]:
    return tuple(build_tokenizer(vocabulary)(text, add_special_tokens=False).input_ids)


@cache
def token_ids(vocabulary: Vocabulary) -> TokenIds:
    """The ids of the tokenizer of this vocabulary."""
    tokenizer = build_tokenizer(vocabulary)
    names = (LOCATION_TOKENS[0], CODE_TOKENS[0], "<eos>")
    first_location, first_code, end = map(tokenizer.convert_tokens_to_ids, names)
    kinds = tuple(tokenizer.convert_tokens_to_ids(SPACE + kind) for kind in vocabulary.kinds)
    return TokenIds(vocabulary, first_location, first_code, end, kinds)
