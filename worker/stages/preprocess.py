"""From an image and a prompt to the input of the model. A test checks that it equals Hugging Face's
`PaliGemmaProcessor`.

It does not use that class, because the class resizes with the backend that is installed, and backends differ. This one
always resizes with Pillow.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import PromptTooLong
from worker.engine.model_input import ModelInput

_KEPT_PROMPTS = 1024


class Preprocessor:
    """Prepares inputs for one checkpoint. Safe to share between threads."""

    def __init__(self, processor: Any, max_prompt_tokens: int) -> None:
        """`processor` is the checkpoint's `PaliGemmaProcessor`: it provides sizes and the names of tokens."""
        self.side = int(processor.image_processor.size["height"])
        self._prefix = processor.image_token + processor.tokenizer.bos_token
        self._image_tokens = int(processor.image_seq_length)
        self._max_tokens = processor.image_seq_length + max_prompt_tokens
        self._tokenizer = processor.tokenizer.backend_tokenizer
        self._kept = lru_cache(_KEPT_PROMPTS)(self._tokenize)

    def prepare(self, image: Image.Image, prompt: str) -> ModelInput:
        """`image` is upright RGB of any size.

        Raises:
            PromptTooLong: the prompt has more than `max_prompt_tokens` tokens.
        """
        pixels = to_pixels(image, self.side)
        return ModelInput(pixels, self.token_ids(prompt), digest(pixels))

    def token_ids(self, prompt: str) -> list[int]:
        """The placeholders of an image and the prompt, as tokens. The list is shared: do not change it.

        Raises:
            PromptTooLong: as `prepare`.
        """
        token_ids = self._kept(prompt)
        if len(token_ids) > self._max_tokens:
            raise PromptTooLong("ask for fewer things, or in words the model knows")
        return token_ids

    def _tokenize(self, prompt: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(f"{self._prefix}{prompt}\n", add_special_tokens=False).ids
        return ids[:1] * (self._image_tokens - 1) + ids  # 256 of them in a text take 0.2 ms


def to_pixels(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Upright RGB of any size -> uint8[side, side, 3]. Proportions are not kept, as in the model's training."""
    square = image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(square)


def digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Equal for equal pixels only. CPUs of servers have instructions for SHA-256: it takes half the time of BLAKE2."""
    return hashlib.sha256(pixels.data).digest()
