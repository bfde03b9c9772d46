"""Cruelty to a fleet: what may happen to processes and messages, at random."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from shared.process.notifier import queue_name
from testing.fleet import SHORT_LEASES, Fleet, Member

FREEZE_S = float(SHORT_LEASES["MASKQ_LEASE_S"]) + 1.5
"""Past the lease, so that somebody else has the job when its first holder wakes."""


class Faults:
    """Does something cruel every so often, each kind equally often."""

    def __init__(self, fleet: Fleet, every_s: float, random: random.Random) -> None:
        self._fleet = fleet
        self._every_s = every_s
        self._random = random
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")
        self._injected: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], None]] = {
            "worker killed": lambda: fleet.kill(self._worker()),
            "worker frozen past its lease": self._freeze,
            "notifications dropped": self._drop_notifications,
            "front end killed": lambda: fleet.kill(fleet.api, random.uniform(0, 0.5)),
            "broker killed": lambda: fleet.kill(fleet.broker, random.uniform(0, 1)),
        }

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()
        for member in self._fleet.workers:
            member.send(signal.SIGCONT)

    def stats(self) -> dict[str, Any]:
        """What was done to the fleet, and how often each of its processes had to be started again."""
        return {
            "faults": dict(self._injected),
            "faults_total": self._injected.total(),
            "processes_started_again": {name: len(each) for name, each in self._fleet.deaths.items()},
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

    def _worker(self) -> Member:
        return self._random.choice(self._fleet.workers)

    def _freeze(self) -> None:
        frozen = self._worker().process
        if frozen is not None:
            frozen.send_signal(signal.SIGSTOP)
            thaw = threading.Timer(FREEZE_S, frozen.send_signal, [signal.SIGCONT])
            thaw.daemon = True
            thaw.start()

    def _drop_notifications(self) -> None:
        try:
            with self._fleet.redis() as redis:
                redis.delete(queue_name("demo"))
        except RedisError:
            return  # it is away, and all bells with it
