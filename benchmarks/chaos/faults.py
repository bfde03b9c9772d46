"""Faults injected into a fleet at random: processes killed or frozen, and notifications dropped."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from local.supervisor import SupervisedProcess
from shared.process.notifier import queue_name
from testing.fleet import SHORT_LEASES, Fleet

FREEZE_S = float(SHORT_LEASES["MASKQ_LEASE_S"]) + 1.5
"""Longer than a lease, so that another worker has claimed the job when the frozen one resumes."""


class Faults:
    """Injects faults while the context lasts, each kind equally often."""

    def __init__(self, fleet: Fleet, every_s: float, random: random.Random) -> None:
        self._fleet = fleet
        self._every_s = every_s
        self._random = random
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")
        self._injected: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], None]] = {
            "worker killed": lambda: self._worker().kill(),
            "worker frozen past its lease": self._freeze,
            "notifications dropped": self._drop_notifications,
            "front end killed": lambda: fleet.api.kill(random.uniform(0, 0.5)),
            "broker killed": lambda: fleet.broker.kill(random.uniform(0, 1)),
        }

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()
        for worker in self._fleet.workers:
            worker.resume()

    def stats(self) -> dict[str, Any]:
        """How many faults of each kind were injected, and how often each process was started again."""
        return {
            "faults": dict(self._injected),
            "faults_total": self._injected.total(),
            "processes_started_again": {name: len(each) for name, each in self._fleet.exit_statuses.items()},
        }

    def _run(self) -> None:
        for kind in self._endless_kinds():
            if self._stopped.wait(self._every_s * self._random.uniform(0.5, 1.5)):
                return
            self._kinds[kind]()
            self._injected[kind] += 1

    def _endless_kinds(self) -> Iterator[str]:
        while True:
            yield from self._random.sample(list(self._kinds), len(self._kinds))

    def _worker(self) -> SupervisedProcess:
        return self._random.choice(self._fleet.workers)

    def _freeze(self) -> None:
        worker = self._worker()
        frozen = worker.process
        worker.freeze()

        def resume() -> None:
            if worker.process is frozen:  # and not one started since
                worker.resume()

        timer = threading.Timer(FREEZE_S, resume)
        timer.daemon = True
        timer.start()

    def _drop_notifications(self) -> None:
        try:
            with self._fleet.redis() as redis:
                redis.delete(queue_name("demo"))
        except RedisError:
            return  # the broker is down, and its notifications with it
