"""Many calls at once, which can be stopped between any two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import TypeVar

from maskq.threads import in_thread

T = TypeVar("T")
ItemT = TypeVar("ItemT")
_CHECK_S = 0.1
"""How often to see whether to stop."""


def each_as_it_ends(
    work: Callable[[ItemT], T], items: Iterable[ItemT], concurrency: int, is_stopped: Callable[[], bool]
) -> Iterator[tuple[ItemT, T]]:
    """Call `work` with each item, at most `concurrency` at once. Yields items with what it returned, as they end, and
    raises what it raised. When stopped, it yields what has ended and leaves the rest alone."""
    remaining = iter(items)
    running: dict[Future[T], ItemT] = {}
    while not is_stopped():
        for item in islice(remaining, concurrency - len(running)):
            running[in_thread(work, item)] = item
        if not running:
            return
        wait(running, timeout=_CHECK_S, return_when=FIRST_COMPLETED)
        for future in [future for future in running if future.done()]:
            yield running.pop(future), future.result()
