"""The other way round: from a mask to the tokens that draw it, for fine-tuning data and to see what tokens can express.

As big_vision makes its training data (`pp/proj/paligemma/segmentation.py`, refcoco_mask2str): the mask is cropped to
its box, resized bilinearly with antialiasing to 64 x 64, and encoded; locations are round(v * 1023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.stages.mask_vqvae import MASK_SIDE, MaskCodec

_LAST_LOCATION = 1023


@dataclass(frozen=True)
class MaskTokens:
    """A mask in the model's words."""

    box_yxyx: tuple[int, int, int, int]
    """y0, x0, y1, x1 in 0..1023."""
    codes: tuple[int, ...]
    """16 mask codes in 0..127."""

    def __str__(self) -> str:
        places = "".join(f"<loc{location:04d}>" for location in self.box_yxyx)
        return places + "".join(f"<seg{code:03d}>" for code in self.codes)


def encode_mask(codec: MaskCodec, mask: npt.NDArray[np.bool_]) -> MaskTokens:
    """bool[H, W] -> the tokens that come nearest.

    Raises:
        ValueError: nothing is inside the mask.
    """
    if not mask.any():
        raise ValueError("an empty mask has no tokens")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, x0, y1, x1 = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    crop = Image.fromarray(mask[y0:y1, x0:x1].astype(np.float32), "F")
    inside = np.asarray(crop.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BILINEAR))
    codes = codec.encode((2 * inside - 1)[None].astype(np.float32))[0]
    height, width = mask.shape
    box = (y0 / height, x0 / width, y1 / height, x1 / width)
    top, left, bottom, right = (round(edge * _LAST_LOCATION) for edge in box)
    return MaskTokens((top, left, bottom, right), tuple(codes.tolist()))
