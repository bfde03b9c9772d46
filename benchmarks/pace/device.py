"""A device that sleeps as long as a GPU would work, and writes answers that are known beforehand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Self

import numpy as np

from shared.domain.paligemma import CODEBOOK_SIZE, LOCATIONS, MASK_TOKENS
from testing.factories import written_answer
from worker.engine.engine import Engine
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import ChosenToken, Sequence

SLOTS = 64
PATCH = 14
"""Side in pixels of the part of an image that one token stands for, in every official checkpoint."""
_PROMPT_TOKENS = 8
_PREFILL_TOKENS = 8_192
_ANSWERS = 97
_LAG = 1
_NO_MORE = ChosenToken(0, 0.0, is_location=False, is_end=True)


@dataclass(frozen=True)
class DeviceTimes:
    """How long an H200 takes for the model of 3 B parameters in bfloat16, with 64 slots.

    At 224 px: 2.0 ms for image and prompt, 1.5 ms for a step. For other sides it follows from that. Image and prompt
    take as many operations as they have tokens. A step reads the weights and the cache of all slots; a position of the
    cache has 107 kB (docs/models.md: 16 slots of 1,792 positions take 3.1 GB), and an H200 reads 4.8 TB a second.
    """

    prefill_s: float
    """Of one image and its prompt."""
    step_s: float

    @classmethod
    def of_side(cls, side: int) -> Self:
        """For images of so many pixels a side."""
        tokens, known = ((each // PATCH) ** 2 + _PROMPT_TOKENS for each in (side, 224))
        return cls(0.0020 * tokens / known, 0.0015 + SLOTS * (tokens - known) * 107e3 / 4.8e12)


@dataclass(frozen=True)
class SleptStep:
    """A step that a device is said to compute."""

    done_at: float
    """Of the clock `time.perf_counter`."""
    tokens: list[tuple[int, bool, bool]]
    """Token, whether it is a location, and whether it ends the answer."""

    def read(self) -> list[ChosenToken]:
        """Sleep until the device would be done."""
        time.sleep(max(0.0, self.done_at - time.perf_counter()))
        return [ChosenToken(token, -0.1, is_location=location, is_end=end) for token, location, end in self.tokens]


@dataclass
class SleptRunner:
    """Runs steps one after the other, as a device does. Not safe to share between threads."""

    times: DeviceTimes
    answers: Iterator[list[tuple[int, bool, bool]]]
    """The answer of each sequence that starts, with its end."""
    _idle_at: float = 0.0
    _unwritten: dict[int, Iterator[tuple[int, bool, bool]]] = field(default_factory=dict)
    """The rest of the answer in each slot."""

    def prefill(self, sequences: SequenceOf[Sequence]) -> SleptStep:
        """Take the time for these images, and write the first token of each answer."""
        for each in sequences:
            self._unwritten[each.slot] = iter(next(self.answers))
        return self._launch(sequences, self.times.prefill_s * len(sequences))

    def decode(self, sequences: SequenceOf[Sequence]) -> SleptStep:
        """Take the time of one step, and write one more token for each sequence."""
        return self._launch(sequences, self.times.step_s)

    def stats(self) -> Mapping[str, float]:
        """No statistics."""
        return {}

    def _launch(self, sequences: SequenceOf[Sequence], duration_s: float) -> SleptStep:
        self._idle_at = max(time.perf_counter(), self._idle_at) + duration_s
        end = (_NO_MORE.token_id, False, True)  # what is written after the end is ignored
        return SleptStep(self._idle_at, [next(self._unwritten[each.slot], end) for each in sequences])


def slept_engine(side: int, tokenizer: Any) -> Engine:
    """An engine on such a device, for images of so many pixels a side."""
    runner = SleptRunner(DeviceTimes.of_side(side), cycle(list(islice(written_answers(tokenizer), _ANSWERS))))
    return Engine(runner, Scheduler(SLOTS, _PREFILL_TOKENS), max_answer_tokens=64, lag=_LAG)


def written_answers(tokenizer: Any) -> Iterator[list[tuple[int, bool, bool]]]:
    """Answers with one object each, as tokens. Their masks differ."""
    random = np.random.default_rng(0)
    while True:
        first = random.integers(0, LOCATIONS // 4, 2).tolist()
        last = random.integers(LOCATIONS // 2, LOCATIONS, 2).tolist()
        codes = random.integers(0, CODEBOOK_SIZE, MASK_TOKENS).tolist()
        ids = tokenizer.encode(written_answer([([*first, *last], codes, "red circle")]), add_special_tokens=False)
        names = tokenizer.convert_ids_to_tokens(ids)
        written = [(each, name.startswith("<loc"), False) for each, name in zip(ids, names, strict=True)]
        yield [*written, (tokenizer.eos_token_id, False, True)]
