"""Waits for several futures without a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


def gathered(futures: Sequence[Future[Value]], on_failure: Callable[[], object] = lambda: None) -> Future[list[Value]]:
    """A future of all results, in the order of `futures`. The first exception ends it at once, after a call of
    `on_failure`."""
    return _Gathering(futures, on_failure).whole


class _Gathering(Generic[Value]):
    def __init__(self, futures: Sequence[Future[Value]], on_failure: Callable[[], object]) -> None:
        self.whole: Future[list[Value]] = Future()
        self._futures = futures
        self._on_failure = on_failure
        self._missing = len(futures)
        self._lock = threading.Lock()
        for future in futures:
            future.add_done_callback(self._collect)
        if not futures:
            self.whole.set_result([])

    def _collect(self, ended: Future[Value]) -> None:
        error = ended.exception()
        if not self._decides(has_failed=error is not None):
            return
        if error is None:
            self.whole.set_result([each.result() for each in self._futures])
        else:
            self._on_failure()
            self.whole.set_exception(error)

    def _decides(self, *, has_failed: bool) -> bool:
        """Whether the future that has ended is the first that failed, or the last one."""
        with self._lock:
            if self._missing == 0:
                return False
            self._missing = 0 if has_failed else self._missing - 1
            return self._missing == 0
