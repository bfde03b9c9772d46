"""Values that are computed when they are first read."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from worker.stages.lazy import lazy


@dataclass(frozen=True)
class _Sum:
    numbers: list[int]

    @lazy
    def value(self) -> int:
        self.numbers.append(0)
        return sum(self.numbers)


def test_a_value_is_computed_once() -> None:
    each = _Sum([1, 2])
    assert (each.value, each.value, each.numbers) == (3, 3, [1, 2, 0])


def test_values_of_several_objects_are_computed_at_the_same_time() -> None:
    both = threading.Barrier(2)

    class Waits:
        @lazy
        def value(self) -> int:
            return both.wait(10)

    threads = [threading.Thread(target=lambda: Waits().value) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken
