"""Runs the two steps of the engine with tensors: prefill new sequences, and decode one more token for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from worker.devices.accelerators import made_current
from worker.engine.cuda_graphs import CudaGraphs
from worker.engine.failures import DeviceLost, StepOutOfMemory
from worker.engine.feature_cache import FeatureCache
from worker.engine.gemma import GemmaLayers
from worker.engine.grammar import SpecialTokenIds
from worker.engine.head import OutputHead
from worker.engine.host_copy import copied_to_host
from worker.engine.pixel_values import to_pixel_values
from worker.engine.sequence import ChosenToken, Sequence

_VISIBLE_STEP = 256
"""With graphs the part of the cache that a step reads grows by this many positions: few shapes, so few graphs."""


@dataclass(frozen=True)
class RunnerLimits:
    """Sizes of a runner's caches."""

    slots: int
    capacity: int
    """Maximum length of a sequence: image, prompt and answer, in tokens."""
    feature_cache_bytes: int = 0


class StepShape(NamedTuple):
    """What distinguishes two steps of `decode` for the device."""

    batch: int
    """Number of slots that are computed."""
    visible: int
    """Number of positions of each slot that are read."""
    any_free: bool
    """Whether any sequence may write a token outside an object."""


class Runner:
    """Runs one PaliGemma 2. Not safe to share between threads: one thread owns the device."""

    def __init__(
        self, model: Any, ids: SpecialTokenIds, limits: RunnerLimits, *, force_format: bool, lag: int = 0
    ) -> None:
        """`model` is a `PaliGemmaForConditionalGeneration` in evaluation mode, on its device, in its dtype."""
        language, text = model.model.language_model, model.config.text_config
        self._model = model.model
        self._device: torch.device = model.device
        self._dtype: torch.dtype = model.dtype
        self._eos_id = ids.eos_id
        self._embed = language.embed_tokens
        slots, capacity = (
            limits.slots,
            limits.capacity + lag,
        )  # a sequence that has ended is given up to `lag` more tokens
        self._capacity = capacity
        self._layers = GemmaLayers(language, slots=slots, capacity=capacity)
        self._head = OutputHead(
            model.lm_head.weight,
            ids,
            slots=slots,
            softcap=text.final_logit_softcapping,
            force_format=force_format,
        )
        self._force_format = force_format
        self._features = FeatureCache(limits.feature_cache_bytes)
        self._graphs = CudaGraphs(self._device)
        self._lengths = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._tokens = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._logprobs = torch.zeros(slots, device=self._device)

    @torch.inference_mode()
    def prefill(self, sequences: SequenceOf[Sequence]) -> LaunchedStep:
        """Compute image and prompt of each sequence into its slot, and write its first token."""
        with _device_errors(), made_current(self._device):
            slots = torch.tensor([each.slot for each in sequences], device=self._device)
            lengths = torch.tensor([each.prefix_length for each in sequences], device=self._device)
            hidden = self._layers.prefill(self._embed_prefixes(sequences), lengths, slots)
            self._head.begin(slots)
            tokens, logprobs = self._head.choose(hidden, slots, any_free=True)
            self._lengths[slots] = lengths
            self._tokens[slots] = tokens
            return LaunchedStep.start_copy(tokens, logprobs, self._head.is_location(tokens), self._eos_id)

    @torch.inference_mode()
    def decode(self, sequences: SequenceOf[Sequence]) -> LaunchedStep:
        """Write one more token for each sequence. Free slots between theirs are computed as well, and ignored."""
        with _device_errors(), made_current(self._device):
            any_free = not self._force_format or any(each.may_write_freely for each in sequences)
            batch = self._rounded_batch(max(each.slot for each in sequences) + 1)
            visible = self._rounded_visible(max(each.length for each in sequences) + 1)
            shape = StepShape(batch, visible, any_free)
            self._graphs.run(shape, lambda: self._step(batch, visible, any_free=any_free))
            slots = torch.tensor([each.slot for each in sequences], device=self._device)
            tokens = self._tokens[slots]
            return LaunchedStep.start_copy(tokens, self._logprobs[slots], self._head.is_location(tokens), self._eos_id)

    def prefill_sizes(self, largest: int) -> list[int]:
        """Numbers of sequences to warm `prefill` up with: 1, 2, 4 and so on up to `largest`, or to all slots. Without
        graphs 1 is enough."""
        most = max(1, min(largest, len(self._lengths))) if self._graphs.are_captured else 1
        return sorted({most, *(1 << power for power in range(most.bit_length()))})

    def shapes(self, shortest: int) -> list[StepShape]:
        """Every shape of `decode` that sequences with at least `shortest` positions can need. Where nothing is captured
        for a shape, this is only the smallest: the others need nothing else."""
        slots = len(self._lengths) if self._graphs.are_captured else 1
        longest = self._capacity if self._graphs.are_captured else shortest + 1
        batches = {self._rounded_batch(batch) for batch in range(1, slots + 1)}
        visible = {self._rounded_visible(length) for length in range(shortest + 1, longest + 1)}
        free = (True, False) if self._force_format else (True,)
        return [StepShape(*each) for each in product(sorted(batches), sorted(visible), free)]

    def forget_images(self) -> None:
        """Remove all features from the cache."""
        self._features.clear()

    def stats(self) -> dict[str, float]:
        """Hits of the feature cache."""
        return {"feature_cache_hits_total": self._features.hits}

    def _step(self, batch: int, visible: int, *, any_free: bool) -> None:
        """One more token for the slots 0 .. batch - 1, in place: from `_tokens` and `_lengths` to the next ones."""
        lengths = self._lengths[:batch]
        hidden = self._layers.decode(self._embed(self._tokens[:batch]), lengths, visible)
        self._tokens[:batch], self._logprobs[:batch] = self._head.choose(hidden, slice(batch), any_free=any_free)
        lengths.add_(1).clamp_(max=self._capacity - 1)  # only free slots can reach the last position

    def _embed_prefixes(self, sequences: SequenceOf[Sequence]) -> Tensor:
        """[B, maximum length, hidden]: the features of the image, then the embedded prompt, padded on the right."""
        features = self._image_features(sequences)
        image_tokens = features.shape[1]
        prompts = [torch.tensor(each.input.token_ids[image_tokens:], device=self._device) for each in sequences]
        embedded = self._embed(pad_sequence(prompts, batch_first=True))
        return torch.cat([features, embedded.to(self._dtype)], 1)

    def _image_features(self, sequences: SequenceOf[Sequence]) -> Tensor:
        """[B, image tokens, hidden]: computed once per image, or taken from the cache."""
        known = {each.input.image_digest: self._features.get(each.input.image_digest) for each in sequences}
        new = {each.input.image_digest: each.input for each in sequences if known[each.input.image_digest] is None}
        if new:
            pixels = torch.from_numpy(np.stack([each.pixels for each in new.values()])).to(self._device)
            output = self._model.vision_tower(to_pixel_values(pixels).to(self._dtype))
            projected = self._model.multi_modal_projector(output.last_hidden_state)
            for digest, features in zip(new, projected, strict=True):
                known[digest] = features
                self._features.put(digest, features)
        return torch.stack([features for each in sequences if (features := known[each.input.image_digest]) is not None])

    def _rounded_batch(self, batch: int) -> int:
        """The next power of two where each shape needs a graph of its own."""
        if not self._graphs.are_captured:
            return batch
        return min(len(self._lengths), 1 << (batch - 1).bit_length())

    def _rounded_visible(self, visible: int) -> int:
        if not self._graphs.are_captured:
            return visible
        return min(self._capacity, -(-visible // _VISIBLE_STEP) * _VISIBLE_STEP)


@dataclass(frozen=True)
class LaunchedStep:
    """The tokens of one step, while they are copied from the device."""

    ids: Tensor
    logprobs: Tensor
    is_location: Tensor
    eos_id: int
    wait: Callable[[], object]
    """Returns when the copies are complete."""

    @classmethod
    def start_copy(cls, ids: Tensor, logprobs: Tensor, is_location: Tensor, eos_id: int) -> Self:
        """Start to copy the tokens to the host."""
        (ids, logprobs, is_location), wait = copied_to_host((ids, logprobs, is_location))
        return cls(ids, logprobs, is_location, eos_id, wait)

    def read(self) -> list[ChosenToken]:
        """Wait for the copies. Returns one token for each sequence, in their order."""
        with _device_errors():
            self.wait()
        rows = zip(self.ids.tolist(), self.logprobs.tolist(), self.is_location.tolist(), strict=True)
        return [ChosenToken(token, logprob, location, token == self.eos_id) for token, logprob, location in rows]


@contextmanager
def _device_errors() -> Iterator[None]:
    """Turn the errors of a device into those of `worker.engine.failures`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StepOutOfMemory from error
    except torch.AcceleratorError as error:
        raise DeviceLost from error
