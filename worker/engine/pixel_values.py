"""From the pixels of images to the values that the vision tower takes."""

from __future__ import annotations

import torch
from torch import Tensor

_HALF = 127.5


def to_pixel_values(pixels: Tensor) -> Tensor:
    """uint8[B, S, S, 3] -> float32[B, 3, S, S] in [-1, 1], on the same device: (x / 255 - 0.5) / 0.5.

    The divisor is a tensor of the device. CUDA would multiply by the reciprocal of a number, which rounds otherwise.
    """
    half = torch.tensor(_HALF, device=pixels.device)
    return (pixels.permute(0, 3, 1, 2).float() / half - 1).contiguous()
