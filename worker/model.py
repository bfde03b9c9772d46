"""What the pipeline asks of a model. In a module of its own, so that using it needs no model library:
`worker.engine_model` answers in the process that has the model, `worker.job_processes.remote_model` in others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""uint8[S, S, 3], RGB: an image as large as the model takes it."""
SoftMask = npt.NDArray[np.float32]
"""float32[64, 64] in [-1, 1]. Values above 0 are inside."""
Codes = tuple[int, ...]
"""16 mask codes in 0..127."""


@dataclass(frozen=True)
class WrittenAnswer:
    """What the model wrote about one view of a picture."""

    text: str
    """Without `<eos>`."""
    spatial_logprobs: list[float]
    """Natural logarithms of the probabilities of its location and mask tokens, in order."""
    truncated: bool
    """Whether it was stopped at its maximum length."""
    batch_size: int
    """Largest number of jobs in one forward pass with this one, including it."""


class Model(Protocol):
    """A PaliGemma 2 and its mask decoder. Safe to share between threads: many jobs share its batches."""

    side: int
    """Of its images, in pixels."""

    def ask(self, prompt: str, views: Sequence[Pixels], is_canceled: Callable[[], bool]) -> list[WrittenAnswer]:
        """The answers to all views of a picture, which share batches. If one fails, the others are dropped.

        Raises:
            PromptTooLong: the prompt has more tokens than the engine allows.
            InferenceFailed: the model failed on it.
            CancelledError: the job was canceled before the model had finished.
        """

    def decode_masks(self, codes: Sequence[Codes]) -> list[SoftMask]:
        """A soft mask for each 16 codes. Shares batches with other jobs."""

    def close(self) -> None:
        """Refuse new jobs, and answer those that it has."""
