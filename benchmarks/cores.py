"""Gives an engine a core to itself, as it would have a GPU. Linux only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

_ENGINE, _OTHERS = {0}, {1}


@dataclass(frozen=True)
class Thread:
    """One of a process."""

    process: psutil.Process
    id: int

    def cpu_s(self) -> float:
        """What it has taken so far."""
        return _cpu_s(self.process)[self.id]


def busiest_thread(process: psutil.Process, during: Callable[[], object]) -> Thread:
    """The one that computes most while `during` runs: the engine's, if that does jobs."""
    before = _cpu_s(process)
    during()
    after = _cpu_s(process)
    return Thread(process, max(after, key=lambda each: after[each] - before.get(each, 0.0)))


def _cpu_s(process: psutil.Process) -> dict[int, float]:
    return {each.id: each.user_time + each.system_time for each in process.threads()}


def set_apart(engine: Thread, processes: Iterable[psutil.Process]) -> None:
    """Leave core 0 to the engine's thread, and core 1 to all others of these processes and their children."""
    for parent in processes:
        for process in (parent, *parent.children(recursive=True)):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, _ENGINE if thread.id == engine.id else _OTHERS)
