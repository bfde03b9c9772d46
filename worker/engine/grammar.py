"""What may follow what in an answer: knowledge that makes half an object impossible, and most of the head needless.

An object is four locations y0 x0 y1 x1 and sixteen mask codes (google-research/big_vision, `proj/paligemma`). So after
a first location the kind of the next nineteen tokens is known; labels, separators and the end are the model's choice.
A box that encloses nothing is no object either, so y1 > y0 and x1 > x0 are part of the grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import CheckpointError

BOX_TOKENS = 4
MASK_TOKENS = 16
OBJECT_TOKENS = BOX_TOKENS + MASK_TOKENS
LOCATIONS = 1024
CODES = 128

FREE = 0
"""The phase in which any token may come. Phase n > 0 is the place of the n-th token after an object's first."""


def phase_after(phase: int, tokens: int) -> int:
    """The phase `tokens` tokens after one inside an object."""
    return phase + tokens if phase + tokens < OBJECT_TOKENS else FREE


@dataclass(frozen=True)
class Vocabulary:
    """The ids of the tokens that the engine must tell apart."""

    location_ids: tuple[int, ...]
    """1024 ids, `<loc0000>` first."""
    code_ids: tuple[int, ...]
    """128 ids, `<seg000>` first."""
    eos_id: int

    @classmethod
    def of(cls, ids: Mapping[str, int], eos_id: int) -> Vocabulary:
        """Find them in a tokenizer's vocabulary.

        Raises:
            CheckpointError: it has no location or segmentation tokens, so this is not a PaliGemma's.
        """
        try:
            locations = tuple(ids[f"<loc{index:04}>"] for index in range(LOCATIONS))
            codes = tuple(ids[f"<seg{index:03}>"] for index in range(CODES))
        except KeyError as error:
            raise CheckpointError(f"the checkpoint's tokenizer has no {error.args[0]}: it cannot point") from None
        return cls(locations, codes, eos_id)
