"""Plain Celery with one task that does nothing: the baseline of `benchmarks.ledger`."""

from __future__ import annotations

import subprocess
import sys
import time

from celery import Celery

THREADS = 8
"""Of a worker, with Celery and with the ledger."""


def do_nothing() -> None:
    """Does nothing. Celery stores its result nevertheless."""


app = Celery()
app.task(name="noop")(do_nothing)


def round_trips_per_s(url: str, jobs: int, pool: str) -> float:
    """Jobs per second, from the first message sent to the last result. `pool` is `threads` or `prefork`."""
    options = ["--pool", pool, "--concurrency", str(THREADS if pool == "threads" else 2), "--loglevel", "ERROR"]
    lean = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.plain_celery", "-b", url, "--result-backend", url]
    with subprocess.Popen([*command, "worker", *options, *lean]) as worker:
        try:
            app = Celery(broker=url, backend=url)
            app.send_task("noop").get(timeout=60)
            begin = time.perf_counter()
            for sent in [app.send_task("noop") for _ in range(jobs)]:
                sent.get(timeout=60)
            return jobs / (time.perf_counter() - begin)
        finally:
            worker.terminate()
