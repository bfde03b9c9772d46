"""What the engine takes for one job."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ModelInput:
    """One image and one prompt, as the model takes them. `worker.stages.preprocess` builds it."""

    pixel_values: npt.NDArray[np.float32]
    """float32[3, S, S] in [-1, 1], RGB."""
    token_ids: list[int]
    """Image placeholders, `<bos>`, the prompt, a newline."""
    image_digest: bytes
    """Equal for equal `pixel_values` only."""
