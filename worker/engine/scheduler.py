"""Decides which sequences run next. Plain Python: no tensors."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence as SequenceOf

from worker.engine.sequence import Sequence


class Scheduler:
    """Gives a fixed number of slots to sequences in the order of their arrival."""

    def __init__(self, slots: int, prefill_tokens: int) -> None:
        """`prefill_tokens` limits the images and prompts, in tokens, that start in one step, because the running
        sequences wait for that step."""
        self._free_slots = list(range(slots))
        self._prefill_tokens = prefill_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    @property
    def has_work(self) -> bool:
        """Whether a sequence waits or runs."""
        return bool(self.waiting or self.running)

    @property
    def free_slots(self) -> int:
        """Number of further sequences that could run."""
        return len(self._free_slots)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence after all others."""
        self.waiting.append(sequence)

    def add_first(self, sequences: SequenceOf[Sequence]) -> None:
        """Queue sequences before all others, in their order."""
        self.waiting.extendleft(reversed(sequences))

    def admit(self) -> list[Sequence]:
        """Give slots to the sequences that may start now. The order is strict: if one may not start, those after it
        wait."""
        admitted: list[Sequence] = []
        tokens = 0
        while self.waiting and self._may_start(self.waiting[0]):
            tokens += self.waiting[0].prefix_length
            if admitted and tokens > self._prefill_tokens:
                break
            sequence = self.waiting.popleft()
            sequence.slot = heapq.heappop(
                self._free_slots
            )  # the lowest: a step computes all slots up to the highest in use
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def release(self, sequence: Sequence) -> None:
        """Free the slot of a running sequence."""
        self.running.remove(sequence)
        heapq.heappush(self._free_slots, sequence.slot)

    def drop_canceled(self) -> None:
        """End the canceled sequences, running and waiting."""
        for sequence in [each for each in self.running if each.is_canceled()]:
            self.release(sequence)
            sequence.cancel()
        for sequence in [each for each in self.waiting if each.is_canceled()]:
            self.waiting.remove(sequence)
            sequence.cancel()

    def halve_prefill(self) -> None:
        """Halve `prefill_tokens` from now on: memory ran out."""
        self._prefill_tokens //= 2

    def _may_start(self, sequence: Sequence) -> bool:
        batch = [sequence, *self.running]
        return bool(self._free_slots) and len(batch) <= min(each.max_batch for each in batch)
