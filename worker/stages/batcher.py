"""Batches the small work of many threads, such as decoding masks. The batches of the model are made in
`worker.engine`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


class Batcher(Generic[Item, Done]):
    """One thread that processes, as one batch, all items that arrived while it was busy. Safe to share between
    threads."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Done]], max_batch: int, name: str) -> None:
        """`work` processes 1 to `max_batch` items and returns one result for each, in their order."""
        self._work = work
        self._max_batch = max_batch
        self._waiting: deque[tuple[Item, Future[Done]]] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def __len__(self) -> int:
        """Number of waiting items."""
        return len(self._waiting)

    def do(self, items: Sequence[Item]) -> list[Done]:
        """Wait for the results of some items, in their order. Raises what `work` raises."""
        return [future.result() for future in self.submit(items)]

    def submit(self, items: Sequence[Item]) -> list[Future[Done]]:
        """Queue some items. Returns a future for each, whose callbacks run on the thread that works."""
        futures: list[Future[Done]] = [Future() for _ in items]
        with self._changed:
            self._waiting.extend(zip(items, futures, strict=True))
            self._changed.notify()
        return futures

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
