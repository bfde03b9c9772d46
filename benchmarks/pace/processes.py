"""The processes of the measurement, and the CPU time that each kind of them has used."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import psutil

_THREADS = 96
_CHILDREN = {"shared.images.sandbox_child": "decoders", "worker.job_processes": "job processes"}
"""Kinds of the worker's child processes, by a word of their command line."""


@contextmanager
def worker(redis_url: str, side: int, max_batch: int, log: Path) -> Iterator[psutil.Process]:
    """A worker for images of so many pixels a side, until the context ends."""
    settings = {
        "REDIS_URL": redis_url,
        "PACE_SIDE": str(side),
        "MASKQ_MAX_BATCH": str(max_batch),
        "MASKQ_WORKER_THREADS": str(_THREADS),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "benchmarks.pace.worker"]
    environment = {**os.environ, **settings}
    with log.open("ab") as output, Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def cpu_s(worker: psutil.Process) -> Mapping[str, float]:
    """CPU seconds so far of the worker, of its child processes by their kind, of the broker, and of this process, which
    stands for front ends."""
    this = psutil.Process()
    spent: dict[str, float] = defaultdict(float, worker=_own_cpu_s(worker), submitter=_own_cpu_s(this))
    for child in worker.children(recursive=True):
        spent[_kind(child)] += _own_cpu_s(child)
    for child in this.children():
        if "valkey-server" in child.name():
            spent["broker"] += _own_cpu_s(child)
    return spent


def _kind(child: psutil.Process) -> str:
    command = " ".join(child.cmdline())
    return next((kind for word, kind in _CHILDREN.items() if word in command), "other children")


def _own_cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
