from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.unit.worker.engine.scripted import sequence
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import Sequence


def _add(scheduler: Scheduler, *tokens: int) -> list[Sequence]:
    added = [sequence(tokens=each) for each in tokens]
    for each in added:
        scheduler.add(each)
    return added


def test_engine_and_scheduler_import_no_torch(root: Path) -> None:
    program = "import sys, worker.engine.engine, worker.engine.scheduler; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=root, timeout=30, check=True)


def test_sequences_start_in_the_order_of_arrival_until_the_slots_are_taken() -> None:
    scheduler = Scheduler(slots=3, prefill_tokens=100)
    first = _add(scheduler, 2, 2, 2, 2)
    assert scheduler.admit() == first[:3]
    assert scheduler.admit() == []
    scheduler.release(first[1])
    assert scheduler.admit() == first[3:]


def test_the_lowest_free_slot_is_used_first() -> None:
    scheduler = Scheduler(slots=4, prefill_tokens=100)
    first = _add(scheduler, 2, 2, 2)
    scheduler.admit()
    scheduler.release(first[2])
    scheduler.release(first[0])
    again = _add(scheduler, 2, 2)
    scheduler.admit()
    assert [each.slot for each in again] == [0, 2]


def test_no_more_tokens_start_in_one_step_than_allowed() -> None:
    scheduler = Scheduler(slots=8, prefill_tokens=10)
    first = _add(scheduler, 4, 4, 4, 4)
    assert scheduler.admit() == first[:2]
    assert scheduler.admit() == first[2:]


def test_a_sequence_above_the_prefill_limit_starts_alone() -> None:
    scheduler = Scheduler(slots=8, prefill_tokens=10)
    first = _add(scheduler, 4, 50, 4)
    assert [scheduler.admit() for _ in range(3)] == [[each] for each in first]


def test_no_sequence_overtakes_one_that_may_not_start_yet() -> None:
    scheduler = Scheduler(slots=8, prefill_tokens=100)
    (running,) = _add(scheduler, 2)
    scheduler.admit()
    (alone,) = _add(scheduler, 2)
    alone.max_batch = 1
    (behind,) = _add(scheduler, 2)
    assert scheduler.admit() == []
    scheduler.release(running)
    assert scheduler.admit() == [alone]
    assert scheduler.admit() == []
    scheduler.release(alone)
    assert scheduler.admit() == [behind]


def test_sequences_added_first_keep_their_order() -> None:
    scheduler = Scheduler(slots=8, prefill_tokens=100)
    later = _add(scheduler, 2)
    earlier = [sequence(), sequence()]
    scheduler.add_first(earlier)
    assert scheduler.admit() == earlier + later


def test_every_sequence_runs_and_no_slot_is_lost_or_used_twice() -> None:
    chance = random.Random(1)
    scheduler = Scheduler(slots=7, prefill_tokens=20)
    added: list[Sequence] = []
    started: list[Sequence] = []
    for _ in range(10_000):
        if chance.random() < 0.4:
            added += _add(scheduler, chance.randrange(2, 12))
        if chance.random() < 0.5:
            started += scheduler.admit()
        if scheduler.running and chance.random() < 0.5:
            scheduler.release(chance.choice(scheduler.running))
        slots = [each.slot for each in scheduler.running]
        assert len(set(slots)) == len(slots)
        assert len(slots) + scheduler.free_slots == 7
    while scheduler.has_work:
        started += scheduler.admit()
        for each in list(scheduler.running):
            scheduler.release(each)
    assert started == added
    assert scheduler.free_slots == 7
