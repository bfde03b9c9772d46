"""The state of one job in the engine, from its arrival to its answer. Plain Python: no tensors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from shared.errors import InferenceFailed
from worker.engine.grammar import FREE, phase_after
from worker.engine.model_input import ModelInput


@dataclass
class Answer:
    """The tokens that the model wrote, without `<eos>`."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Natural logarithm of each token's probability among the tokens that were allowed at its position."""
    truncated: bool = False
    """Whether it reached the maximum length without an `<eos>`."""
    batch_size: int = 0
    """Largest number of jobs in one forward pass with this job, including it."""


@dataclass(frozen=True)
class ChosenToken:
    """The token that one step wrote for one job."""

    token_id: int
    logprob: float
    is_location: bool
    is_end: bool


@dataclass(eq=False)
class Sequence:
    """A job that waits for a slot, or writes its answer in a slot."""

    input: ModelInput
    future: Future[Answer]
    is_canceled: Callable[[], bool] = lambda: False
    max_batch: int = 1 << 30
    """Largest number of sequences that may run at once while this one runs, including it. Halved after each failed
    step."""
    slot: int = -1
    """Its slot of the key-value cache while it runs."""
    answer: Answer = field(default_factory=Answer)
    phase: int = FREE
    """Grammar phase of the next token that will be read back."""
    steps_in_flight: int = 0
    """Number of steps that were launched for it and are not read back yet."""
    is_done: bool = False

    @property
    def prefix_length(self) -> int:
        """Number of positions of the image and the prompt."""
        return len(self.input.token_ids)

    @property
    def length(self) -> int:
        """Number of positions in the cache after all steps in flight have run. The next step writes the position after
        them."""
        return self.prefix_length + len(self.answer.token_ids) + self.steps_in_flight - 1

    @property
    def may_write_freely(self) -> bool:
        """Whether the next step may write a token outside an object, as far as is known before the steps in flight are
        read back."""
        return self.phase == FREE or phase_after(self.phase, self.steps_in_flight) == FREE

    def append(self, chosen: ChosenToken, max_tokens: int) -> None:
        """Add a token that was read back. Complete the answer if it is the last one."""
        self.steps_in_flight -= 1
        if self.is_done:
            return
        if chosen.is_end:
            self._succeed()
            return
        self.answer.token_ids.append(chosen.token_id)
        self.answer.logprobs.append(chosen.logprob)
        self.phase = phase_after(self.phase, 1) if self.phase != FREE else int(chosen.is_location)
        if len(self.answer.token_ids) == max_tokens:
            self.answer.truncated = True
            self._succeed()

    def cancel(self) -> None:
        """End without an answer: the job was canceled."""
        self.is_done = True
        self.future.set_exception(CancelledError())

    def fail(self) -> None:
        """End with an error that is safe to show to clients."""
        self.is_done = True
        self.future.set_exception(InferenceFailed("the model's forward pass failed"))

    def restarted(self, max_batch: int) -> Sequence:
        """The same job from its beginning, with a smaller `max_batch`. Steps in flight for this one are ignored from
        now on."""
        self.is_done = True
        return Sequence(self.input, self.future, self.is_canceled, max_batch=max_batch)

    def _succeed(self) -> None:
        self.is_done = True
        self.future.set_result(self.answer)
