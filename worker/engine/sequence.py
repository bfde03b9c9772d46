"""One job in the engine, from its arrival to its answer. Plain Python: no tensors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import InferenceFailed
from worker.engine.grammar import FREE, phase_after

if TYPE_CHECKING:
    from worker.stages.preprocess import ModelInput


@dataclass
class Answer:
    """What the model wrote, `<eos>` left out."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Natural logarithm of each token's probability among the tokens that were allowed in its place."""
    truncated: bool = False
    """It reached the longest length without an `<eos>`."""
    batch_size: int = 0
    """Most jobs that shared a forward pass with it, itself counted."""


@dataclass(frozen=True)
class ChosenToken:
    """What one step wrote for one job."""

    token_id: int
    logprob: float
    is_location: bool
    is_end: bool


@dataclass(eq=False)
class Sequence:
    """A job that waits for a slot, or writes its answer in one."""

    input: ModelInput
    future: Future[Answer]
    is_canceled: Callable[[], bool] = lambda: False
    max_batch: int = 1 << 30
    """Most sequences it may run beside, itself counted. Halved each time a step with it fails."""
    slot: int = -1
    """Its place in the key-value cache while it runs."""
    answer: Answer = field(default_factory=Answer)
    phase: int = FREE
    """Place in the grammar of the next token to be read back."""
    steps_in_flight: int = 0
    """Steps that were launched for it and not read back yet."""
    is_done: bool = False

    @property
    def prefix_length(self) -> int:
        """Positions taken by the image and the prompt."""
        return len(self.input.token_ids)

    @property
    def length(self) -> int:
        """Positions taken in the cache once all steps in flight have run; the next step writes the one after."""
        return self.prefix_length + len(self.answer.token_ids) + self.steps_in_flight - 1

    @property
    def writes_freely_next(self) -> bool:
        """Whether any token may come next, for all that is known before the steps in flight are read back."""
        return self.phase == FREE or phase_after(self.phase, self.steps_in_flight) == FREE

    def take(self, chosen: ChosenToken, longest: int) -> None:
        """Add a token that was read back, and end if it is the last."""
        self.steps_in_flight -= 1
        if self.is_done:
            return
        if chosen.is_end:
            self._succeed()
            return
        self.answer.token_ids.append(chosen.token_id)
        self.answer.logprobs.append(chosen.logprob)
        self.phase = phase_after(self.phase, 1) if self.phase != FREE else int(chosen.is_location)
        if len(self.answer.token_ids) == longest:
            self.answer.truncated = True
            self._succeed()

    def cancel(self) -> None:
        """End without an answer: nobody waits for it."""
        self.is_done = True
        self.future.set_exception(CancelledError())

    def fail(self) -> None:
        """End with an error that is safe to show."""
        self.is_done = True
        self.future.set_exception(InferenceFailed("the model's forward pass failed"))

    def restarted(self, max_batch: int) -> Sequence:
        """The same job from its beginning, in smaller company. What is still in flight for this one is ignored."""
        self.is_done = True
        return Sequence(self.input, self.future, self.is_canceled, max_batch=max_batch)

    def _succeed(self) -> None:
        self.is_done = True
        self.future.set_result(self.answer)
