"""From an image and a prompt to the input of the model. A test checks that it equals Hugging Face's
`PaliGemmaProcessor`.

It does not use that class, because the class resizes with the backend that is installed, and backends differ. This one
always resizes with Pillow.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import PromptTooLong
from worker.engine.model_input import ModelInput


class Preprocessor:
    """Prepares inputs for one checkpoint. Safe to share between threads."""

    def __init__(self, processor: Any, max_prompt_tokens: int) -> None:
        """`processor` is the checkpoint's `PaliGemmaProcessor`: it provides sizes and the names of tokens."""
        self.side = int(processor.image_processor.size["height"])
        self._prefix = processor.image_token + processor.tokenizer.bos_token
        self._image_tokens = int(processor.image_seq_length)
        self._max_tokens = processor.image_seq_length + max_prompt_tokens
        self._tokenizer = processor.tokenizer.backend_tokenizer

    def prepare(self, image: Image.Image, prompt: str) -> ModelInput:
        """`image` is upright RGB of any size. It is resized to a square without keeping its proportions, as in the
        model's training.

        Raises:
            PromptTooLong: the prompt has more than `max_prompt_tokens` tokens.
        """
        ids = self._tokenizer.encode(f"{self._prefix}{prompt}\n", add_special_tokens=False).ids
        token_ids = ids[:1] * (self._image_tokens - 1) + ids  # 256 of them in a text take 0.2 ms
        if len(token_ids) > self._max_tokens:
            raise PromptTooLong("ask for fewer things, or in words the model knows")
        pixels = self._pixel_values(image)
        return ModelInput(pixels, token_ids, hashlib.sha256(pixels.data).digest())

    def _pixel_values(self, image: Image.Image) -> npt.NDArray[np.float32]:
        square = image.resize((self.side, self.side), Image.Resampling.BICUBIC)  # free if it has this size already
        scaled = np.asarray(square, np.float32) / np.float32(127.5) - np.float32(1)  # (x / 255 - 0.5) / 0.5
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))
