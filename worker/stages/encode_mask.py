"""From a mask to its tokens: the inverse of parsing and rendering. Jobs do not need it. It makes fine-tuning data, and
shows how exact tokens can be.

The steps are those that make big_vision's training data (`pp/proj/paligemma/segmentation.py`, refcoco_mask2str): the
mask is cropped to its box, resized bilinearly with antialiasing to 64 x 64, and encoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.domain.paligemma import MASK_SIDE, to_location, write_tokens
from worker.stages.mask_vqvae import MaskCodec


@dataclass(frozen=True)
class MaskTokens:
    """The tokens of one mask."""

    box_yxyx: tuple[int, int, int, int]
    """y0, x0, y1, x1 as locations, 0..1023."""
    codes: tuple[int, ...]
    """16 mask codes in 0..127."""

    def __str__(self) -> str:
        return write_tokens(self.box_yxyx, self.codes)


def encode_mask(codec: MaskCodec, mask: npt.NDArray[np.bool_]) -> MaskTokens:
    """bool[H, W] -> the tokens whose mask is the nearest.

    Raises:
        ValueError: the mask has no pixel inside.
    """
    if not mask.any():
        raise ValueError("an empty mask has no tokens")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, x0, y1, x1 = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    crop = Image.fromarray(mask[y0:y1, x0:x1].astype(np.float32), "F")
    inside = np.asarray(crop.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BILINEAR))
    codes = codec.encode((2 * inside - 1)[None].astype(np.float32))[0]
    height, width = mask.shape
    top, left, bottom, right = map(to_location, (y0 / height, x0 / width, y1 / height, x1 / width))
    return MaskTokens((top, left, bottom, right), tuple(codes.tolist()))
