"""Does work for many threads at once: whatever waits is handed over together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


class Batcher(Generic[Item, Done]):
    """One thread that takes what has piled up while it was busy. Safe to share between threads."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Done]], max_batch: int, name: str) -> None:
        """`work` does 1 to `max_batch` items and returns what came of each."""
        self._work = work
        self._max_batch = max_batch
        self._waiting: deque[tuple[Item, Future[Done]]] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def do(self, items: Sequence[Item]) -> list[Done]:
        """Have some items done, and wait. What `work` raises is raised here."""
        futures: list[Future[Done]] = [Future() for _ in items]
        with self._changed:
            self._waiting.extend(zip(items, futures, strict=True))
            self._changed.notify()
        return [future.result() for future in futures]

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            try:
                for (_, future), done in zip(batch, self._work([item for item, _ in batch]), strict=True):
                    future.set_result(done)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
