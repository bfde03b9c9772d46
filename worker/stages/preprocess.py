"""From a picture and a prompt to what the model takes. Equal to Hugging Face's `PaliGemmaProcessor`, held by a test.

Ours because theirs resizes with whatever backend is installed, and backends differ; this is always Pillow's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import PromptTooLong


@dataclass(frozen=True)
class ModelInput:
    """One job as the model sees it."""

    pixel_values: npt.NDArray[np.float32]
    """float32[3, S, S] in [-1, 1], RGB."""
    token_ids: list[int]
    """Image placeholders, `<bos>`, the prompt, a newline."""
    image_digest: bytes
    """The same for the same `pixel_values`, and for no others."""


class Preprocessor:
    """Prepares inputs for one checkpoint. Safe to share between threads."""

    def __init__(self, processor: Any, max_prompt_tokens: int) -> None:
        """`processor` is the checkpoint's `PaliGemmaProcessor`; sizes and token names are taken from it."""
        self.side = int(processor.image_processor.size["height"])
        self._prefix = processor.image_token * processor.image_seq_length + processor.tokenizer.bos_token
        self._longest = processor.image_seq_length + max_prompt_tokens
        self._tokenizer = processor.tokenizer.backend_tokenizer

    def prepare(self, image: Image.Image, prompt: str) -> ModelInput:
        """`image` is upright RGB of any size; it is squashed to a square, as the model was trained.

        Raises:
            PromptTooLong: the prompt takes more tokens than there is room for.
        """
        token_ids = self._tokenizer.encode(f"{self._prefix}{prompt}\n", add_special_tokens=False).ids
        if len(token_ids) > self._longest:
            raise PromptTooLong("ask for fewer things, or in words the model knows")
        pixels = self._pixel_values(image)
        return ModelInput(pixels, list(token_ids), hashlib.sha256(pixels.data).digest())

    def _pixel_values(self, image: Image.Image) -> npt.NDArray[np.float32]:
        square = image.resize((self.side, self.side), Image.Resampling.BICUBIC)  # costs nothing if it has this size
        scaled = np.asarray(square, np.float32) / np.float32(127.5) - np.float32(1)  # (x / 255 - 0.5) / 0.5
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))
