"""Gives the thread of an engine a core of its own, as it would have a GPU of its own. Linux only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import psutil

_ENGINE, _OTHERS = {0}, {1}


@dataclass(frozen=True)
class Thread:
    """One thread of a process."""

    process: psutil.Process
    id: int

    def cpu_s(self) -> float:
        """CPU seconds it has used so far."""
        return _cpu_s(self.process)[self.id]


def busiest_thread(process: psutil.Process, during: Callable[[], object]) -> Thread:
    """The thread that uses most CPU time while `during` runs. If that runs jobs, it is the engine's."""
    before = _cpu_s(process)
    during()
    after = _cpu_s(process)
    return Thread(process, max(after, key=lambda each: after[each] - before.get(each, 0.0)))


def _cpu_s(process: psutil.Process) -> dict[int, float]:
    return {each.id: each.user_time + each.system_time for each in process.threads()}


def set_apart(engine: Thread) -> None:
    """Pin the engine's thread to core 0, and all other threads of this process and its children to core 1."""
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, _ENGINE if thread.id == engine.id else _OTHERS)
