"""The worker of the measurement."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

_THREADS = 96


@contextmanager
def worker(redis_url: str, side: int, max_batch: int, log: Path) -> Iterator[None]:
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
            yield
        finally:
            process.terminate()
            process.wait()
