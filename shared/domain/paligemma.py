"""The token language of PaliGemma: how a prompt is written, and how an answer writes boxes and masks.

    segment cat ; dog
    <loc0123><loc0045><loc0678><loc0901><seg012>...<seg127> cat ; <loc...

An answer is a list of objects between separators. An object is 4 location tokens (y0, x0, y1, x1), 16 mask tokens and a
label. All numbers and forms here are those of google-research/big_vision: `big_vision/configs/proj/paligemma/README.md`
describes the tokens, `pp/proj/paligemma/segmentation.py` writes them for training, and
`evaluators/proj/paligemma/transfers/segmentation.py` reads them for scoring.

Plain Python: the front end, workers, training and evaluation import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

LOCATIONS = 1024
"""Number of location tokens: `<loc0000>` to `<loc1023>`."""
LOCATION_SCALE = LOCATIONS - 1
"""A location v is the coordinate v / 1023, as a fraction of the image's side: 0 is the near edge, 1023 the far edge."""
CODEBOOK_SIZE = 128
"""Number of mask tokens, `<seg000>` to `<seg127>`: one for each entry in the codebook of the mask VQ-VAE."""

BOX_TOKENS = 4
"""Location tokens of one object: y0, x0, y1, x1."""
MASK_TOKENS = 16
"""Mask tokens of one object: the codes of a 4 x 4 grid, row by row."""
MASK_SIDE = 64
"""Side of the soft mask, in pixels, that the mask tokens of one object stand for."""
OBJECT_TOKENS = BOX_TOKENS + MASK_TOKENS
"""Location and mask tokens of one object. Its label comes after them."""

TASK = "segment"
"""First word of every prompt: what the model must do."""
SEPARATOR = " ; "
"""Stands between the phrases of a prompt and between the objects of an answer."""

SPATIAL_TOKEN = re.compile(r"<(loc)(\d{4})>|<(seg)(\d{3})>")
"""A location token (groups 1 and 2) or a mask token (groups 3 and 4): the kind, and the number in decimal."""
BEGINS_WITH_OBJECT = re.compile(rf"(<loc\d{{4}}>){{{BOX_TOKENS}}}(<seg\d{{3}}>){{{MASK_TOKENS}}}")
"""An answer whose first tokens are those of one object, box and mask."""
RESERVED_TOKEN = re.compile(
    r"<\s*/?\s*(loc\d+|seg\d+|image|bos|eos|pad|unk|mask|unused\d+|start_of_turn|end_of_turn)\s*>", re.I
)
"""Text that a tokenizer could read as a token of its own. Wider than the tokens are: any digits, spaces, any case."""


def location_token(location: int) -> str:
    """0..1023 -> `<loc0000>`..`<loc1023>`."""
    return f"<loc{location:04d}>"


def mask_token(code: int) -> str:
    """0..127 -> `<seg000>`..`<seg127>`."""
    return f"<seg{code:03d}>"


def to_location(coordinate: float) -> int:
    """The nearest location, 0..1023, of a coordinate in 0..1."""
    return round(coordinate * LOCATION_SCALE)


def to_coordinate(location: int) -> float:
    """The coordinate, 0..1, of a location in 0..1023."""
    return location / LOCATION_SCALE


def write_prompt(phrases: Iterable[str]) -> str:
    """`["cat", "dog"]` -> `segment cat ; dog`."""
    return f"{TASK} {SEPARATOR.join(phrases)}"


def read_prompt(prompt: str) -> list[str]:
    """The phrases of a prompt that `write_prompt` wrote: `segment cat ; dog` -> `["cat", "dog"]`."""
    return prompt.removeprefix(f"{TASK} ").split(SEPARATOR)


def write_tokens(box_yxyx: Sequence[int], codes: Sequence[int]) -> str:
    """The location and mask tokens of one object: locations in 0..1023 and codes in 0..127, or no codes for a box."""
    return "".join([*map(location_token, box_yxyx), *map(mask_token, codes)])
