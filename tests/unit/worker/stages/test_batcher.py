from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.stages.batcher import Batcher


def test_every_caller_gets_the_results_of_its_own_items() -> None:
    batcher = Batcher[int, int](lambda items: [each * 2 for each in items], 8, "doubler")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda start: batcher.do(range(start, start + 20)), range(100)))
    assert answers == [[2 * each for each in range(start, start + 20)] for start in range(100)]


def test_waiting_items_share_a_batch_up_to_the_maximum() -> None:
    gate, started, sizes = threading.Event(), threading.Event(), list[int]()

    def work(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        started.set()
        assert gate.wait(10)
        return items

    batcher = Batcher(work, 4, "counter")
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.do, [0])
        assert started.wait(10)
        rest = pool.submit(batcher.do, list(range(1, 7)))
        while len(batcher) < 6:
            threading.Event().wait(0.001)
        gate.set()
        assert (first.result(10), rest.result(10)) == ([0], list(range(1, 7)))
    assert sizes == [1, 4, 2]


def test_a_failure_reaches_its_callers_only() -> None:
    def work(items: Sequence[int]) -> Sequence[int]:
        if 13 in items:
            raise ValueError("unlucky")
        return items

    batcher = Batcher(work, 4, "superstitious")
    with pytest.raises(ValueError, match="unlucky"):
        batcher.do([13])
    assert batcher.do([1, 2]) == [1, 2]


def test_no_items_give_no_results() -> None:
    assert Batcher[int, int](lambda items: items, 4, "idle").do([]) == []
