"""A number of slots for threads, which the clients that wait for them get in turns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class FairSlots:
    """Like a semaphore, but a free slot goes to the waiting client that has the fewest: so one client's many requests
    delay another's by no more than the one that ends next. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self._lock = threading.Lock()
        self._free = slots
        self._used: Counter[str] = Counter()
        self._waiting: list[tuple[str, threading.Event]] = []
        """Clients in the order in which they came, each with the event that tells it that it has a slot."""

    @contextmanager
    def held(self, client: str) -> Iterator[None]:
        """Hold a slot for the time of a block; wait until there is one."""
        self._take(client)
        try:
            yield
        finally:
            self._free_slot(client)

    def _take(self, client: str) -> None:
        has_slot = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                self._used[client] += 1
                return
            self._waiting.append((client, has_slot))
        has_slot.wait()

    def _free_slot(self, client: str) -> None:
        with self._lock:
            self._used -= Counter([client])
            if not self._waiting:
                self._free += 1
                return
            first = min(self._waiting, key=lambda waiting: self._used[waiting[0]])
            self._waiting.remove(first)
            self._used[first[0]] += 1
        first[1].set()
