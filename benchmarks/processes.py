"""CPU time and memory of the processes that a measurement started, by their kind. Linux only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import psutil

_KINDS = {
    "shared.images.sandbox_child": "decoders",
    "-m worker.job_processes": "job processes",
    "-m worker": "worker",
    "-m benchmarks.pace.worker": "worker",
    "-m api": "api",
    "valkey-server": "broker",
}
"""Kinds by words of their command lines. The first that fits counts."""
_THIS = "client"


def processes() -> Iterator[tuple[str, psutil.Process]]:
    """This process and all that it started, with their kinds."""
    this = psutil.Process()
    yield _THIS, this
    for child in this.children(recursive=True):
        yield _kind(child), child


def _kind(child: psutil.Process) -> str:
    command = " ".join(child.cmdline())
    return next((kind for words, kind in _KINDS.items() if words in command), "others")


def cpu_s() -> Mapping[str, float]:
    """CPU seconds so far. `client` is this process."""
    spent: dict[str, float] = defaultdict(float)
    for kind, process in processes():
        times = process.cpu_times()
        spent[kind] += times.user + times.system
    return spent


def cpu_s_since(before: Mapping[str, float]) -> Mapping[str, float]:
    """CPU seconds since `cpu_s` returned `before`."""
    return {kind: spent - before.get(kind, 0.0) for kind, spent in cpu_s().items()}


def memory_mb() -> Mapping[str, float]:
    """Memory in MB. A page that several processes share counts in equal parts for each of them (PSS)."""
    used: dict[str, float] = defaultdict(float)
    for kind, process in processes():
        used[kind] += process.memory_full_info().pss / 1e6
    return used
