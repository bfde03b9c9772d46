"""The output layer: chooses the next token of every sequence, and keeps its grammar phase, on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.domain.paligemma import BOX_TOKENS, CODEBOOK_SIZE, LOCATIONS, OBJECT_TOKENS
from worker.engine.grammar import FREE, SpecialTokenIds

_NEVER = -torch.inf


class OutputHead:
    """Greedy decoding, with one row of state per slot."""

    def __init__(
        self, weight: Tensor, ids: SpecialTokenIds, *, slots: int, softcap: float | None, force_format: bool
    ) -> None:
        """`weight` is [vocabulary, hidden]. With `force_format` only tokens that the grammar allows are chosen, and
        probabilities are those among the allowed tokens."""
        self._weight = weight
        self._softcap = softcap
        self._force_format = force_format
        device = weight.device
        self._spatial_ids = torch.tensor([*ids.location_ids, *ids.mask_ids], device=device)
        self._spatial_weight = weight[self._spatial_ids].float()  # bfloat16 logits of 16 and more are 0.125 apart
        self._never_free = torch.tensor([*ids.mask_ids, ids.location_ids[-1]], device=device)
        self._location_of = torch.full((len(weight),), -1, device=device)
        self._location_of[self._spatial_ids[:LOCATIONS]] = torch.arange(LOCATIONS, device=device)
        self._allowed = _allowed_by_phase().to(device)
        self._index = torch.arange(LOCATIONS + CODEBOOK_SIZE, device=device)
        self._phase = torch.zeros(slots, dtype=torch.long, device=device)
        self._last_two = torch.full((slots, 2), -1, device=device)

    def begin(self, slots: Tensor) -> None:
        """Reset the state of these slots, for new sequences."""
        self._phase[slots] = FREE
        self._last_two[slots] = -1

    def choose(self, hidden: Tensor, slots: Tensor | slice, *, any_free: bool) -> tuple[Tensor, Tensor]:
        """The next token of each slot: [B, hidden] -> ids, int64[B], and the natural logarithms of their
        probabilities, float32[B].

        `any_free`: whether any of them may write a token outside an object. Only then the whole head is computed.
        """
        if not self._force_format:
            return _best(self._capped(hidden @ self._weight.T))
        phase = self._phase[slots]
        index, logprobs = _best(self._spatial_logits(hidden, phase, slots))
        tokens = self._spatial_ids[index]
        if any_free:
            logits = self._capped(hidden @ self._weight.T)
            logits[:, self._never_free] = _NEVER
            free_tokens, free_logprobs = _best(logits)
            is_free = phase == FREE
            tokens = torch.where(is_free, free_tokens, tokens)
            logprobs = torch.where(is_free, free_logprobs, logprobs)
        self._advance(slots, phase, tokens)
        return tokens, logprobs

    def is_location(self, tokens: Tensor) -> Tensor:
        """int64[B] -> bool[B]: which of these ids are location tokens."""
        return self._location_of[tokens] >= 0

    def _spatial_logits(self, hidden: Tensor, phase: Tensor, slots: Tensor | slice) -> Tensor:
        """float32[B, 1024 + 128]: -inf for tokens that the grammar does not allow."""
        logits = self._capped(hidden.float() @ self._spatial_weight.T)
        # The third location must be greater than the first, and the fourth greater than the second.
        ends_box = (phase == 2) | (phase == 3)
        beyond = torch.where(ends_box, self._last_two[slots, 0], -1)
        allowed = self._allowed[phase] & ((self._index > beyond[:, None]) | (self._index >= LOCATIONS))
        return logits.masked_fill(~allowed, _NEVER)

    def _advance(self, slots: Tensor | slice, phase: Tensor, tokens: Tensor) -> None:
        location = self._location_of[tokens]
        begins = (location >= 0).long()
        self._phase[slots] = torch.where(phase == FREE, begins, (phase + 1) % OBJECT_TOKENS)
        self._last_two[slots] = torch.stack([self._last_two[slots, 1], location], 1)

    def _capped(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        return logits if self._softcap is None else self._softcap * torch.tanh(logits / self._softcap)


def _allowed_by_phase() -> Tensor:
    """bool[20, 1024 + 128]: locations, then mask codes. The last location is never a first one: none is greater."""
    allowed = torch.zeros(OBJECT_TOKENS, LOCATIONS + CODEBOOK_SIZE, dtype=torch.bool)
    allowed[:BOX_TOKENS, :LOCATIONS] = True
    allowed[1, LOCATIONS - 1] = False
    allowed[BOX_TOKENS:, LOCATIONS:] = True
    return allowed


def _best(logits: Tensor) -> tuple[Tensor, Tensor]:
    """float32[B, N] -> the index of the largest, int64[B], and its log-probability, float32[B]."""
    largest, index = logits.max(-1)
    return index, largest - logits.logsumexp(-1)
