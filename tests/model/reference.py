"""The answers of transformers, with which those of the engine are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from worker.engine.grammar import SpecialTokenIds
from worker.engine.model_input import ModelInput
from worker.engine.pixel_values import to_pixel_values


class Grammar(LogitsProcessor):
    """The grammar again, implemented from its definition: it reads the whole answer each time."""

    def __init__(self, ids: SpecialTokenIds, prefix_length: int) -> None:
        self._ids = ids
        self._prefix_length = prefix_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        for row, ids in enumerate(input_ids[:, self._prefix_length :].tolist()):
            in_object = self._in_object(ids)
            if in_object:
                allowed[row, self._allowed(in_object)] = True
            else:
                allowed[row] = True
                allowed[row, [*self._ids.mask_ids, self._ids.location_ids[-1]]] = False
        return scores.masked_fill(~allowed, -torch.inf)

    def _in_object(self, written: list[int]) -> list[int]:
        """The tokens of the object that is not complete yet. Empty if there is none."""
        in_object: list[int] = []
        for token in written:
            in_object = [*in_object, token] if in_object or token in self._ids.location_ids else []
            in_object = [] if len(in_object) == 20 else in_object
        return in_object

    def _allowed(self, in_object: list[int]) -> list[int]:
        locations, codes = self._ids.location_ids, self._ids.mask_ids
        if len(in_object) >= 4:
            return list(codes)
        if len(in_object) == 1:
            return list(locations[:-1])
        return list(locations[locations.index(in_object[len(in_object) - 2]) + 1 :])


def answer_of_transformers(
    model: Any, job: ModelInput, forced: SpecialTokenIds | None, max_tokens: int
) -> tuple[int, ...]:
    """What `generate` writes for one input alone, with `<eos>`. `forced`: with the format forced, for these ids."""
    ids = torch.tensor([job.token_ids])
    processors = LogitsProcessorList([Grammar(forced, len(job.token_ids))] if forced else [])
    written = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        token_type_ids=torch.zeros_like(ids),
        pixel_values=to_pixel_values(torch.from_numpy(np.stack([job.pixels]))),
        do_sample=False,
        max_new_tokens=max_tokens,
        logits_processor=processors,
        eos_token_id=1,
    )
    return tuple(written[0, ids.shape[1] :].tolist())
