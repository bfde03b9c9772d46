"""Faults of a group of servers and Sentinels. Each ends with the group whole again, so that no two happen at once: one
replica that confirms protects from one fault."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from benchmarks.chaos.faults import Kinds
from testing.redis_group import RedisGroup
from testing.redis_process import RedisProcess

PLANNED = "planned failover"
OF_THE_PRIMARY = (
    *("primary killed", "primary frozen", "primary cut off from all", "primary and a Sentinel killed"),
    *("primary wiped", PLANNED),
)
"""Kinds after which clients wait for another primary. One that they still reach is not among them: it may accept jobs
until they leave it."""
_MAX_DOWN_S = 2.0


class GroupFaults:
    """What can happen to the group. Counts the failovers."""

    def __init__(self, group: RedisGroup, chance: random.Random) -> None:
        self._group = group
        self._random = chance
        self._primary = group.primary()
        self.failovers = 0

    @property
    def kinds(self) -> Kinds:
        """All kinds. Those of the primary lead to a failover, the others only if the machine is too busy."""
        group = self._group
        cut_off = partial(group.cut_off, clients=True)
        return {
            "primary killed": self._failing(group.kill, group.restart),
            "primary frozen": self._failing(group.freeze, group.thaw),
            "primary cut off from all but clients": self._failing(group.cut_off, group.join),
            "primary cut off from all": self._failing(cut_off, group.join),
            "primary and a Sentinel killed": self._failing(self._kill_with_a_sentinel, self._restart_what_is_down),
            "primary wiped": self._then_whole(lambda: group.wipe(group.primary())),
            PLANNED: self._then_whole(group.failover),
            "primary killed and started at once": self._then_whole(lambda: group.restart(group.primary())),
            "Sentinel killed": self._passing(lambda: self._random.choice(group.sentinels), group.kill, group.restart),
            "replica killed": self._passing(self._replica, group.kill, group.restart),
            "replica frozen": self._passing(self._replica, group.freeze, group.thaw),
            "replica cut off": self._passing(self._replica, group.cut_off, group.join),
            "replica wiped": self._then_whole(lambda: group.wipe(self._replica())),
        }

    def _failing(
        self, begin: Callable[[RedisProcess], None], end: Callable[[RedisProcess], None]
    ) -> Callable[[], None]:
        """A fault of the primary that ends a while after another server has become the primary."""

        def happen() -> None:
            old = self._group.primary()
            begin(old)
            self._group.wait_for_failover(old)
            self._pause()
            end(old)

        return self._then_whole(happen)

    def _passing(
        self,
        choose: Callable[[], RedisProcess],
        begin: Callable[[RedisProcess], None],
        end: Callable[[RedisProcess], None],
    ) -> Callable[[], None]:
        """A fault that ends by itself after a while."""

        def happen() -> None:
            process = choose()
            begin(process)
            self._pause()
            end(process)

        return self._then_whole(happen)

    def _then_whole(self, happen: Callable[[], object]) -> Callable[[], None]:
        def until_whole() -> None:
            happen()
            self._group.wait_until_whole()
            primary = self._group.primary()
            self.failovers += primary is not self._primary
            self._primary = primary

        return until_whole

    def _pause(self) -> None:
        time.sleep(self._random.uniform(0, _MAX_DOWN_S))

    def _replica(self) -> RedisProcess:
        return self._random.choice(self._group.replicas())

    def _kill_with_a_sentinel(self, primary: RedisProcess) -> None:
        self._group.kill(self._random.choice(self._group.sentinels))
        self._group.kill(primary)

    def _restart_what_is_down(self, _: RedisProcess) -> None:
        for process in self._group.processes:
            if not process.is_running:
                self._group.restart(process)
