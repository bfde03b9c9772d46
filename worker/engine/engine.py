"""The loop: whatever waits is answered together, by one thread that owns the device."""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future
from typing import Protocol

from shared.errors import InferenceFailed
from worker.engine.runner import Answer
from worker.preprocess import ModelInput

logger = logging.getLogger(__name__)


class BatchRunner(Protocol):
    """What the loop needs of a runner."""

    def run(self, inputs: list[ModelInput]) -> list[Answer]: ...


_Waiting = tuple[ModelInput, "Future[Answer]"]


class Engine:
    """Takes jobs from any thread and answers each through a future."""

    def __init__(self, runner: BatchRunner, max_batch: int) -> None:
        self._runner = runner
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: ModelInput) -> Future[Answer]:
        """Queue a job. Its future gets an answer or an `InferenceFailed`; canceling it before it runs is allowed.

        Raises:
            InferenceFailed: the engine is closed.
        """
        future: Future[Answer] = Future()
        with self._changed:
            if self._closed:
                raise InferenceFailed("the worker is stopping")
            self._waiting.append((job, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Answer what waits, take no more, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while batch := self._next_batch():
            running = [(job, future) for job, future in batch if future.set_running_or_notify_cancel()]
            if running:
                self._answer(running)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for work. Nothing means: closed, and all answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]

    def _answer(self, batch: list[_Waiting]) -> None:
        """Run a batch. If that fails, each of its jobs runs alone, so that only the guilty one fails."""
        try:
            answers = self._runner.run([job for job, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)
        except Exception:
            logger.exception("a forward pass failed for a batch of %d", len(batch))
            if len(batch) == 1:
                batch[0][1].set_exception(InferenceFailed("the model's forward pass failed"))
                return
            for alone in batch:
                self._answer([alone])
