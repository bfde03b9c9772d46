"""Decides who runs next. Plain Python: no tensors."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence as SequenceOf

from worker.engine.sequence import Sequence


class Scheduler:
    """First come, first served, into a fixed number of slots."""

    def __init__(self, slots: int, prefill_tokens: int) -> None:
        """`prefill_tokens` bounds the images and prompts, in tokens, that start in one step: while they do, the others
        write nothing."""
        self._free_slots = list(range(slots))
        self._prefill_tokens = prefill_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def free_slots(self) -> int:
        """How many more sequences could run."""
        return len(self._free_slots)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence behind all others."""
        self.waiting.append(sequence)

    def put_back(self, sequences: SequenceOf[Sequence]) -> None:
        """Queue sequences before all others, in their order."""
        self.waiting.extendleft(reversed(sequences))

    def admit(self) -> list[Sequence]:
        """Give slots to those who may start now. Nobody overtakes: whoever does not fit holds up those behind."""
        admitted: list[Sequence] = []
        tokens = 0
        while self.waiting and self._may_start(self.waiting[0]):
            tokens += self.waiting[0].prefix_length
            if admitted and tokens > self._prefill_tokens:
                break
            sequence = self.waiting.popleft()
            sequence.slot = heapq.heappop(self._free_slots)  # the lowest: steps run over slots 0 .. highest in use
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def release(self, sequence: Sequence) -> None:
        """Take back the slot of a sequence that runs."""
        self.running.remove(sequence)
        heapq.heappush(self._free_slots, sequence.slot)

    def drop_canceled(self) -> None:
        """End those whom nobody waits for any more, whether they run or wait."""
        for sequence in [each for each in self.running if each.is_canceled()]:
            self.release(sequence)
            sequence.cancel()
        for sequence in [each for each in self.waiting if each.is_canceled()]:
            self.waiting.remove(sequence)
            sequence.cancel()

    def start_fewer(self) -> None:
        """Halve what may start in one step, from now on: memory ran out."""
        self._prefill_tokens //= 2

    def _may_start(self, sequence: Sequence) -> bool:
        company = [sequence, *self.running]
        return bool(self._free_slots) and len(company) <= min(each.max_batch for each in company)
