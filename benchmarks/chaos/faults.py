"""Injects faults at random, each kind equally often, and remembers which and when."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Kinds: TypeAlias = Mapping[str, Callable[[], None]]
"""What can happen, by name."""


@dataclass(frozen=True)
class Fault:
    """One that was injected."""

    kind: str
    at: float
    """When it began, in seconds of the monotonic clock."""


class Faults:
    """Injects faults while the context lasts. A fault may take a while; the next one begins after it."""

    def __init__(self, kinds: Kinds, every_s: float, chance: random.Random) -> None:
        """`every_s` is the mean time from the end of a fault to the next one."""
        self._kinds = kinds
        self._every_s = every_s
        self._random = chance
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")
        self._error: Exception | None = None
        self.injected: list[Fault] = []

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        for kind in self._endless_kinds():
            if self._stopped.wait(self._every_s * self._random.uniform(0.5, 1.5)):
                return
            self.injected.append(Fault(kind, time.monotonic()))
            try:
                self._kinds[kind]()
            except Exception as error:  # raised at the end, in the thread that can report it
                self._error = error
                return

    def _endless_kinds(self) -> Iterator[str]:
        while True:
            yield from self._random.sample(list(self._kinds), len(self._kinds))


def count(*faults: Faults) -> dict[str, Any]:
    """How many faults of each kind were injected."""
    kinds = Counter(fault.kind for each in faults for fault in each.injected)
    return {"faults": dict(kinds), "faults_total": kinds.total()}
