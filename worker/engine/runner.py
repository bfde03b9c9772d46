"""The tensors behind the engine's two steps: take sequences in, and write one more token for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from worker.engine.cuda_graphs import Graphs
from worker.engine.failures import DeviceLost, StepOutOfMemory
from worker.engine.features import FeatureCache
from worker.engine.gemma import Decoder
from worker.engine.grammar import Vocabulary
from worker.engine.head import Head
from worker.engine.sequence import ChosenToken, Sequence

_VISIBLE_STEP = 256
"""On CUDA the part of the cache that a step looks at grows by so much: few shapes, few graphs."""


@dataclass(frozen=True)
class RunnerLimits:
    """How much a runner holds at once."""

    slots: int
    capacity: int
    """Longest sequence: image, prompt and answer, in tokens."""
    feature_cache_bytes: int = 0


class Runner:
    """Runs one PaliGemma 2. Not safe to share: one thread owns the device."""

    def __init__(
        self, model: Any, vocabulary: Vocabulary, limits: RunnerLimits, *, force_format: bool, lag: int = 0
    ) -> None:
        """`model` is a `PaliGemmaForConditionalGeneration` in evaluation mode, on its device, in its dtype."""
        language, text = model.model.language_model, model.config.text_config
        self._model = model.model
        self._device: torch.device = model.device
        self._dtype: torch.dtype = model.dtype
        self._eos_id = vocabulary.eos_id
        self._embed = language.embed_tokens
        slots, capacity = limits.slots, limits.capacity + lag  # a finished sequence writes `lag` tokens too many
        self._capacity = capacity
        self._decoder = Decoder(language, slots=slots, capacity=capacity)
        self._head = Head(
            model.lm_head.weight,
            vocabulary,
            slots=slots,
            softcap=text.final_logit_softcapping,
            force_format=force_format,
        )
        self._force_format = force_format
        self._features = FeatureCache(limits.feature_cache_bytes)
        self._graphs = Graphs(self._device)
        self._lengths = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._tokens = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._logprobs = torch.zeros(slots, device=self._device)

    @torch.inference_mode()
    def prefill(self, sequences: SequenceOf[Sequence]) -> Written:
        """Take in image and prompt of each sequence, and write its first token."""
        with _explained():
            slots = torch.tensor([each.slot for each in sequences], device=self._device)
            lengths = torch.tensor([each.prefix_length for each in sequences], device=self._device)
            hidden = self._decoder.prefill(self._embed_prefixes(sequences), lengths, slots)
            self._head.begin(slots)
            tokens, logprobs = self._head.choose(hidden, slots, any_free=True)
            self._lengths[slots] = lengths
            self._tokens[slots] = tokens
            return Written.of(tokens, logprobs, self._head.is_location(tokens), self._eos_id)

    @torch.inference_mode()
    def decode(self, sequences: SequenceOf[Sequence]) -> Written:
        """Write one more token for each sequence. Slots between them that nobody has are computed and ignored."""
        with _explained():
            any_free = not self._force_format or any(each.writes_freely_next for each in sequences)
            batch = self._rounded_batch(max(each.slot for each in sequences) + 1)
            visible = self._rounded_visible(max(each.length for each in sequences) + 1)
            self._graphs.run((batch, visible, any_free), lambda: self._step(batch, visible, any_free=any_free))
            slots = torch.tensor([each.slot for each in sequences], device=self._device)
            tokens = self._tokens[slots]
            return Written.of(tokens, self._logprobs[slots], self._head.is_location(tokens), self._eos_id)

    def stats(self) -> dict[str, float]:
        """Images whose features were still kept."""
        return {"feature_cache_hits_total": self._features.hits}

    def _step(self, batch: int, visible: int, *, any_free: bool) -> None:
        """One more token for the slots 0 .. batch - 1, in place: from `_tokens` and `_lengths` to the next ones."""
        lengths = self._lengths[:batch]
        hidden = self._decoder.decode(self._embed(self._tokens[:batch]), lengths, visible)
        self._tokens[:batch], self._logprobs[:batch] = self._head.choose(hidden, slice(batch), any_free=any_free)
        lengths.add_(1).clamp_(max=self._capacity - 1)  # only a slot that nobody has can get there

    def _embed_prefixes(self, sequences: SequenceOf[Sequence]) -> Tensor:
        """[B, longest, hidden]: the features of the image, then the embedded prompt, padded on the right."""
        features = self._see(sequences)
        image_tokens = features.shape[1]
        prompts = [torch.tensor(each.input.token_ids[image_tokens:], device=self._device) for each in sequences]
        embedded = self._embed(pad_sequence(prompts, batch_first=True))
        return torch.cat([features, embedded.to(self._dtype)], 1)

    def _see(self, sequences: SequenceOf[Sequence]) -> Tensor:
        """[B, image tokens, hidden]: each image looked at once, or not at all if its features are kept."""
        seen = {each.input.image_digest: self._features.get(each.input.image_digest) for each in sequences}
        new = {each.input.image_digest: each.input for each in sequences if seen[each.input.image_digest] is None}
        if new:
            pixels = torch.from_numpy(np.stack([each.pixel_values for each in new.values()]))
            output = self._model.vision_tower(pixels.to(self._device, self._dtype))
            projected = self._model.multi_modal_projector(output.last_hidden_state)
            for digest, features in zip(new, projected, strict=True):
                seen[digest] = features
                self._features.put(digest, features)
        return torch.stack([features for each in sequences if (features := seen[each.input.image_digest]) is not None])

    def _rounded_batch(self, batch: int) -> int:
        """To a power of two on CUDA, where each shape is a graph of its own."""
        if self._device.type != "cuda":
            return batch
        return min(len(self._lengths), 1 << (batch - 1).bit_length())

    def _rounded_visible(self, visible: int) -> int:
        if self._device.type != "cuda":
            return visible
        return min(self._capacity, -(-visible // _VISIBLE_STEP) * _VISIBLE_STEP)


@dataclass(frozen=True)
class Written:
    """The tokens of a step, on their way from the device."""

    ids: Tensor
    logprobs: Tensor
    is_location: Tensor
    eos_id: int
    copied: Callable[[], object]

    @classmethod
    def of(cls, ids: Tensor, logprobs: Tensor, is_location: Tensor, eos_id: int) -> Self:
        """Begin to copy them to the host."""
        if ids.device.type != "cuda":
            return cls(ids, logprobs, is_location, eos_id, lambda: None)
        ids, logprobs, is_location = (each.to("cpu", non_blocking=True) for each in (ids, logprobs, is_location))
        arrived = torch.cuda.Event()
        arrived.record()
        return cls(ids, logprobs, is_location, eos_id, arrived.synchronize)

    def read(self) -> list[ChosenToken]:
        """Wait until they are there."""
        with _explained():
            self.copied()
        rows = zip(self.ids.tolist(), self.logprobs.tolist(), self.is_location.tolist(), strict=True)
        return [ChosenToken(token, logprob, location, token == self.eos_id) for token, logprob, location in rows]


@contextmanager
def _explained() -> Iterator[None]:
    """Name what a device can do to us in the engine's words."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StepOutOfMemory from error
    except torch.AcceleratorError as error:
        raise DeviceLost from error
