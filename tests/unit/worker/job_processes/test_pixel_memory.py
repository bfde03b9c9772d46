"""Pixels in memory that two processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from shared.domain.tiles import MAX_TILES
from worker.job_processes.pixel_memory import FreeSlots, PixelMemory, memory_file, needed_slots

_SIDE, _SLOTS = 4, 3
_OTHER_PROCESS = """
import sys
from worker.job_processes.pixel_memory import PixelMemory
print(int(PixelMemory(int(sys.argv[1]), 4, 3).read(1).sum()))
"""


@pytest.fixture
def file() -> Iterator[int]:
    file = memory_file(_SIDE, _SLOTS)
    yield file
    os.close(file)


def test_another_process_reads_what_was_written(file: int) -> None:
    memory = PixelMemory(file, _SIDE, _SLOTS)
    memory.write(1, np.full((_SIDE, _SIDE, 3), 2, np.uint8))
    command = [sys.executable, "-c", _OTHER_PROCESS, str(file)]
    read = subprocess.run(command, pass_fds=[file], capture_output=True, text=True, check=True)
    assert int(read.stdout) == 2 * _SIDE * _SIDE * 3


def test_each_slot_has_an_image_of_its_own(file: int) -> None:
    memory = PixelMemory(file, _SIDE, _SLOTS)
    images = np.random.default_rng(1).integers(0, 256, (_SLOTS, _SIDE, _SIDE, 3), np.uint8)
    for slot, image in enumerate(images):
        memory.write(slot, image)
    np.testing.assert_array_equal([memory.read(slot) for slot in range(_SLOTS)], images)


def test_slots_are_never_given_twice_and_the_one_that_was_freed_last_is_given_first() -> None:
    slots = FreeSlots(_SLOTS)
    first, second = slots.take(1), slots.take(2)
    assert sorted(first + second) == list(range(_SLOTS))
    slots.release(second)
    slots.release(first)
    assert slots.take(1) == first


def test_there_is_a_slot_for_each_view_of_as_many_jobs_as_may_run() -> None:
    slots = FreeSlots(needed_slots(jobs=8, tiled_jobs=2))
    tiled = [slots.take(1 + MAX_TILES) for _ in range(2)]
    assert len(tiled[0]) == 1 + MAX_TILES
    for _ in range(6):
        slots.take(1)
