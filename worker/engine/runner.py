"""Greedy decoding of a batch through the model's own forward pass. Every tensor of the engine lives here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.preprocess import ModelInput


@dataclass
class Answer:
    """What the model wrote, `<eos>` left out."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Natural logarithm of each token's probability."""
    truncated: bool = True
    """It reached the longest length without an `<eos>`."""
    batch_size: int = 1
    """Jobs in the same forward passes."""


class Runner:
    """Runs one PaliGemma. Not safe to share: one thread owns the device."""

    def __init__(self, model: Any, *, pad_id: int, eos_id: int, max_answer_tokens: int) -> None:
        """`model` is a `PaliGemmaForConditionalGeneration` in evaluation mode, on its device, in its dtype."""
        self._model = model
        self._pad_id = pad_id
        self._eos_id = eos_id
        self._max_answer_tokens = max_answer_tokens

    @torch.inference_mode()
    def run(self, inputs: Sequence[ModelInput], before_step: Callable[[], Collection[int]]) -> list[Answer]:
        """Answer all inputs together. The tokens are those of `model.generate(do_sample=False)` one by one.

        `before_step` is called before every token and says which inputs nobody waits for any more: they are dropped,
        and their answers are whatever was written by then.
        """
        answers = [Answer(batch_size=len(inputs)) for _ in inputs]
        token_ids, attention_mask = self._pad_left([each.token_ids for each in inputs])
        logits, cache = self._prefill(inputs, token_ids, attention_mask)
        unfinished = set(range(len(inputs)))
        for _ in range(self._max_answer_tokens):
            unfinished.difference_update(before_step())
            chosen = logits.argmax(-1)
            logprobs = logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
            self._append(answers, unfinished, chosen.tolist(), logprobs.tolist())
            if not unfinished:
                break
            attention_mask = torch.nn.functional.pad(attention_mask, (0, 1), value=1)
            logits, cache = self._step(chosen, attention_mask, cache)
        return answers

    def _pad_left(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Rows of ids -> int64[B, longest] and its mask, 0 on padding. Left, so that all answers begin together."""
        longest = max(map(len, rows))
        ids = [[self._pad_id] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _prefill(self, inputs: Sequence[ModelInput], token_ids: Tensor, mask: Tensor) -> tuple[Tensor, Any]:
        """Image and prompt, each seeing all of both -> float32[B, vocabulary] for the first token, and the cache."""
        pixels = torch.from_numpy(np.stack([each.pixel_values for each in inputs]))
        return self._forward(
            input_ids=token_ids,
            pixel_values=pixels.to(self._model.device, self._model.dtype),
            attention_mask=mask,
            token_type_ids=torch.zeros_like(token_ids),
            position_ids=mask.cumsum(-1).clamp(min=1),  # PaliGemma counts from 1
        )

    def _step(self, chosen: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """One more token for every row."""
        return self._forward(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=mask.sum(-1, keepdim=True),
            past_key_values=cache,
        )

    def _forward(self, **inputs: Any) -> tuple[Tensor, Any]:
        output = self._model(**inputs, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float(), output.past_key_values

    def _append(
        self, answers: list[Answer], unfinished: set[int], chosen: Sequence[int], logprobs: Sequence[float]
    ) -> None:
        for row in list(unfinished):
            if chosen[row] == self._eos_id:
                answers[row].truncated = False
                unfinished.discard(row)
            else:
                answers[row].token_ids.append(chosen[row])
                answers[row].logprobs.append(logprobs[row])
