"""The loop: whatever waits is answered together, by one thread that owns the device."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shared.errors import InferenceFailed

if TYPE_CHECKING:  # torch takes seconds to import, and the loop needs none of it
    from worker.engine.runner import Answer
    from worker.preprocess import ModelInput

logger = logging.getLogger(__name__)


class BatchRunner(Protocol):
    """What the loop needs of a runner."""

    def run(self, inputs: list[ModelInput], before_step: Callable[[], Collection[int]]) -> list[Answer]: ...


@dataclass(frozen=True)
class _Waiting:
    input: ModelInput
    is_canceled: Callable[[], bool]
    future: Future[Answer]


class Engine:
    """Takes jobs from any thread and answers each through a future."""

    def __init__(self, runner: BatchRunner, max_batch: int) -> None:
        self._runner = runner
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
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
        waiting = _Waiting(job, is_canceled, Future())
        with self._changed:
            if self._closed:
                raise InferenceFailed("the worker is stopping")
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Answer what waits, take no more, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @property
    def stuck_s(self) -> float:
        """Seconds since the model last made a step, if it is at work; else 0."""
        progress_at = self._progress_at
        return 0.0 if progress_at is None else time.monotonic() - progress_at

    def _loop(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)
            self._progress_at = None

    def _next_batch(self) -> list[_Waiting]:
        """Wait for work. Nothing means: closed, and all answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]

    def _answer(self, batch: list[_Waiting]) -> None:
        """Run a batch. If that fails, each of its jobs runs alone, so that only the guilty one fails."""

        def before_step() -> list[int]:
            self._progress_at = time.monotonic()
            return [row for row, each in enumerate(batch) if each.is_canceled()]

        try:
            before_step()
            answers = self._runner.run([each.input for each in batch], before_step)
            for each, answer in zip(batch, answers, strict=True):
                _settle(each, answer)
        except Exception:
            logger.exception("a forward pass failed for a batch of %d", len(batch))
            if len(batch) == 1:
                batch[0].future.set_exception(InferenceFailed("the model's forward pass failed"))
                return
            for alone in batch:
                self._answer([alone])


def _settle(waiting: _Waiting, answer: Answer) -> None:
    if waiting.is_canceled():
        waiting.future.set_exception(CancelledError())
    else:
        waiting.future.set_result(answer)
