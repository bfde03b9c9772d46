"""Which kind of token may follow which in an answer. With it decoding cannot write half an object, and most steps need
only the few rows of the head that belong to location and mask tokens.

`shared.domain.paligemma` names the tokens; this module constrains decoding. After the first location of an object the
kinds of its next 19 tokens are known. Labels, separators and the end of the answer are the model's choice. A box
without an inside is not an object, so y1 > y0 and x1 > x0 are part of the grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.paligemma import CODEBOOK_SIZE, LOCATIONS, OBJECT_TOKENS, location_token, mask_token
from shared.errors import CheckpointError

FREE = 0
"""The phase outside an object, where any token may come. Phase n > 0 is the n-th token after an object's first."""


def phase_after(phase: int, tokens: int) -> int:
    """The phase `tokens` tokens after a phase inside an object."""
    return phase + tokens if phase + tokens < OBJECT_TOKENS else FREE


@dataclass(frozen=True)
class SpecialTokenIds:
    """Ids, in one tokenizer's vocabulary, of the tokens that the engine treats differently from text."""

    location_ids: tuple[int, ...]
    """1024 ids, `<loc0000>` first."""
    mask_ids: tuple[int, ...]
    """128 ids, `<seg000>` first."""
    eos_id: int

    @classmethod
    def of(cls, ids: Mapping[str, int], eos_id: int) -> SpecialTokenIds:
        """Find them in a tokenizer's vocabulary.

        Raises:
            CheckpointError: a location or mask token is missing, so this is not the tokenizer of a PaliGemma.
        """
        try:
            locations = tuple(ids[location_token(location)] for location in range(LOCATIONS))
            masks = tuple(ids[mask_token(code)] for code in range(CODEBOOK_SIZE))
        except KeyError as error:
            raise CheckpointError(
                f"the checkpoint's tokenizer has no {error.args[0]}, so the model cannot write boxes and masks"
            ) from None
        return cls(locations, masks, eos_id)
