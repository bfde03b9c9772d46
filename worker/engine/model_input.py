"""What the engine takes for one job."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ModelInput:
    """One image and one prompt, as the engine takes them. `worker.stages.preprocess` builds it."""

    pixels: npt.NDArray[np.uint8]
    """uint8[S, S, 3], RGB. It must not change before the job has its answer."""
    token_ids: list[int]
    """Image placeholders, `<bos>`, the prompt, a newline."""
    image_digest: bytes
    """Equal for equal `pixels` only."""
