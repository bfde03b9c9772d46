"""The engine loop: continuous batching. Jobs join and leave the batch between the steps of one model, on one thread
that owns the device."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from typing import Protocol

from shared.errors import InferenceFailed
from worker.engine.failures import DeviceLost, StepOutOfMemory
from worker.engine.model_input import ModelInput
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import Answer, ChosenToken, Sequence

logger = logging.getLogger(__name__)


class Step(Protocol):
    """A launched step of the model."""

    def read(self) -> list[ChosenToken]:
        """Wait for the step. Returns one token for each of its sequences, in their order."""


class StepRunner(Protocol):
    """Runs the steps of a model."""

    def prefill(self, sequences: SequenceOf[Sequence]) -> Step:
        """Compute image and prompt of each sequence into its slot, and write its first token."""

    def decode(self, sequences: SequenceOf[Sequence]) -> Step:
        """Write one more token for each sequence."""

    def stats(self) -> Mapping[str, float]:
        """Statistics by name, as in `Engine.stats`."""


class Engine:
    """Takes jobs from any thread. Each job gets its answer through a future."""

    def __init__(
        self,
        runner: StepRunner,
        scheduler: Scheduler,
        *,
        max_answer_tokens: int,
        lag: int = 0,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """`lag` is the number of steps that are launched before the oldest is read back. 1 keeps a GPU busy while
        Python works. On a CPU it brings nothing. `prepare` is called before the first job, on the thread of all
        steps."""
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
        self._prepare = prepare
        self._prepared = Future[None]()
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def wait_until_prepared(self) -> None:
        """Return when jobs run at once. Raises what `prepare` raised; the engine takes no jobs then."""
        self._prepared.result()

    def submit(self, job: ModelInput, is_canceled: Callable[[], bool] = lambda: False) -> Future[Answer]:
        """Queue a job. Its future gets an answer or an `InferenceFailed`. After `is_canceled` returns True, the job is
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
        """Refuse new jobs, answer all that wait, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def stats(self) -> dict[str, float]:
        """Statistics by name. Names that end in `_total` are counters since the start; the others are current
        values."""
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
        """Seconds since the last turn of the loop began, or 0 if the engine has no work."""
        progress_at = self._progress_at
        return 0.0 if progress_at is None else time.monotonic() - progress_at

    def _has_prepared(self) -> bool:
        try:
            self._prepare()
        except Exception as error:
            self._closed = True
            self._prepared.set_exception(error)
            return False
        self._prepared.set_result(None)
        return True

    def _loop(self) -> None:
        if not self._has_prepared():
            return
        try:
            while self._take_arrived():
                self._turn()
        except Exception:
            _end_process("the engine failed")

    def _turn(self) -> None:
        """One turn of the loop: start the sequences that may start, and write one token for each running one."""
        self._progress_at = time.monotonic()
        self._scheduler.drop_canceled()
        if admitted := self._scheduler.admit():
            self._images += len(admitted)
            self._launch(self._runner.prefill, admitted)
        if self._scheduler.running:
            self._launch(self._runner.decode, list(self._scheduler.running))
        else:
            self._read_back(0)

    def _take_arrived(self) -> bool:
        """Give new jobs to the scheduler; wait if there is no work. Returns False if the engine is closed and all jobs
        are answered."""
        with self._changed:
            if not self._scheduler.has_work and not self._arrived:
                self._progress_at = None
                self._changed.wait_for(lambda: self._arrived or self._closed)
            while self._arrived:
                self._scheduler.add(self._arrived.popleft())
        return self._scheduler.has_work

    def _launch(self, run: Callable[[SequenceOf[Sequence]], Step], sequences: list[Sequence]) -> None:
        """Launch a step, and read back the steps that are due."""
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
        self._read_back(self._lag)

    def _read_back(self, may_stay: int) -> None:
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
                sequence.append(chosen, self._max_answer_tokens)
                if sequence.is_done and not was_done:
                    self._scheduler.release(sequence)

    def _retry_smaller(self, sequences: list[Sequence], error: Exception) -> None:
        """A step failed. A sequence that ran alone fails; several start again in batches of at most half the size."""
        if isinstance(error, DeviceLost):
            _end_process("the device is lost")
        logger.error("a forward pass failed for a batch of %d", len(sequences), exc_info=error)
        if isinstance(error, StepOutOfMemory):
            self._scheduler.halve_prefill()
        unfinished = [each for each in sequences if not each.is_done]
        for sequence in unfinished:
            self._scheduler.release(sequence)
        if len(sequences) == 1:
            for sequence in unfinished:
                sequence.fail()
            return
        self._scheduler.add_first([each.restarted(len(sequences) // 2) for each in unfinished])


def _end_process(reason: str) -> None:
    """End this process, which cannot continue. A supervisor restarts it, and other workers get its jobs."""
    logger.critical("%s: ending the process", reason, exc_info=True)
    os._exit(os.EX_SOFTWARE)
