"""The loop: jobs join and leave between the steps of one model, on one thread that owns the device."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from shared.errors import InferenceFailed
from worker.engine.failures import DeviceLost, StepOutOfMemory
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import Answer, ChosenToken, Sequence

if TYPE_CHECKING:
    from worker.stages.preprocess import ModelInput

logger = logging.getLogger(__name__)


class Step(Protocol):
    """A step that was launched."""

    def read(self) -> list[ChosenToken]:
        """Wait for it: one token for each of its sequences."""


class StepRunner(Protocol):
    """What the loop needs of a runner."""

    def prefill(self, sequences: SequenceOf[Sequence]) -> Step:
        """Take in image and prompt of each, into its slot, and write its first token."""

    def decode(self, sequences: SequenceOf[Sequence]) -> Step:
        """Write one more token for each."""

    def stats(self) -> Mapping[str, float]:
        """Of its own, like those of the engine."""


class Engine:
    """Takes jobs from any thread and answers each through a future."""

    def __init__(self, runner: StepRunner, scheduler: Scheduler, *, max_answer_tokens: int, lag: int = 0) -> None:
        """`lag` is how many steps are launched before the oldest is read back. 1 keeps a GPU busy while Python works;
        a CPU gains nothing by it."""
        self._runner = runner
        self._scheduler = scheduler
        self._max_answer_tokens = max_answer_tokens
        self._lag = lag
        self._in_flight: deque[tuple[list[Sequence], Step]] = deque()
        self._arrived: deque[Sequence] = deque()
        self._changed = threading.Condition()
        self._steps = self._tokens = self._images = 0
        self._closed = False
        self._progress_at: float | None = None
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: ModelInput, is_canceled: Callable[[], bool] = lambda: False) -> Future[Answer]:
        """Queue a job. Its future gets an answer or an `InferenceFailed`. Once `is_canceled` says so, the job is
        dropped before the next step of the model, and its future raises `CancelledError`.

        Raises:
            InferenceFailed: the engine is closed.
        """
        sequence = Sequence(job, Future(), is_canceled)
        with self._changed:
            if self._closed:
                raise InferenceFailed("the worker is stopping")
            self._arrived.append(sequence)
            self._changed.notify()
        return sequence.future

    def close(self) -> None:
        """Answer what waits, take no more, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def stats(self) -> dict[str, float]:
        """What it has and does, for people who watch it; what ends in `_total` has grown since the start."""
        running, waiting = len(self._scheduler.running), len(self._scheduler.waiting) + len(self._arrived)
        return {
            "slots": running + self._scheduler.free_slots,
            "slots_used": running,
            "jobs_waiting": waiting,
            "steps_total": self._steps,
            "tokens_total": self._tokens,
            "images_total": self._images,
            **self._runner.stats(),
        }

    @property
    def stuck_s(self) -> float:
        """Seconds since the model last made a step, if it is at work; else 0."""
        progress_at = self._progress_at
        return 0.0 if progress_at is None else time.monotonic() - progress_at

    def _loop(self) -> None:
        try:
            while self._take_arrived():
                self._turn()
        except Exception:
            _end_process("the engine failed")

    def _turn(self) -> None:
        """One round: whoever may start starts, and everybody writes a token."""
        self._progress_at = time.monotonic()
        self._scheduler.drop_canceled()
        if admitted := self._scheduler.admit():
            self._images += len(admitted)
            self._launch(self._runner.prefill, admitted)
        if self._scheduler.running:
            self._launch(self._runner.decode, list(self._scheduler.running))
        else:
            self._land(0)

    def _take_arrived(self) -> bool:
        """Pass on what has arrived; wait if there is nothing to do. False means: closed, and all answered."""
        with self._changed:
            if not self._scheduler.has_work and not self._arrived:
                self._progress_at = None
                self._changed.wait_for(lambda: self._arrived or self._closed)
            while self._arrived:
                self._scheduler.add(self._arrived.popleft())
        return self._scheduler.has_work

    def _launch(self, run: Callable[[SequenceOf[Sequence]], Step], sequences: list[Sequence]) -> None:
        """Start a step, and read back those that are due."""
        try:
            step = run(sequences)
        except Exception as error:
            self._retry_smaller(sequences, error)
            return
        for sequence in sequences:
            sequence.steps_in_flight += 1
            sequence.answer.batch_size = max(sequence.answer.batch_size, len(sequences))
        self._steps += 1
        self._tokens += len(sequences)
        self._in_flight.append((sequences, step))
        self._land(self._lag)

    def _land(self, may_stay: int) -> None:
        """Read back the oldest steps until at most `may_stay` are in flight."""
        while len(self._in_flight) > may_stay:
            sequences, step = self._in_flight.popleft()
            try:
                tokens = step.read()
            except Exception as error:
                self._retry_smaller(sequences, error)
                continue
            for sequence, chosen in zip(sequences, tokens, strict=True):
                was_done = sequence.is_done
                sequence.take(chosen, self._max_answer_tokens)
                if sequence.is_done and not was_done:
                    self._scheduler.release(sequence)

    def _retry_smaller(self, sequences: list[Sequence], error: Exception) -> None:
        """A step failed. What ran alone is to blame; the others start again, half as many at a time."""
        if isinstance(error, DeviceLost):
            _end_process("the device is lost")
        logger.error("a forward pass failed for a batch of %d", len(sequences), exc_info=error)
        if isinstance(error, StepOutOfMemory):
            self._scheduler.start_fewer()
        unfinished = [each for each in sequences if not each.is_done]
        for sequence in unfinished:
            self._scheduler.release(sequence)
        if len(sequences) == 1:
            for sequence in unfinished:
                sequence.fail()
            return
        self._scheduler.put_back([each.restarted(len(sequences) // 2) for each in unfinished])


def _end_process(reason: str) -> None:
    """Nothing here can go on. A supervisor starts the process again, and the leases bring its jobs back."""
    logger.critical("%s: ending the process", reason, exc_info=True)
    os._exit(os.EX_SOFTWARE)
