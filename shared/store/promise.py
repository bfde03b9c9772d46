"""What the server promises of an accepted job: on which disks it is, and whether a failover can forget it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from redis import Redis
from redis.exceptions import ResponseError

from shared.store.records import text

_NAMES = ("appendfsync", "min-replicas-to-write", "min-replicas-max-lag")


@dataclass(frozen=True)
class Promise:
    """What a process logs of its server when it meets it."""

    has_aof: bool
    fsync: str
    """`appendfsync`; empty if the server hides its configuration."""
    replicas: int
    """Connected now."""
    confirmed: int
    """`confirm_replicas`."""
    wait: str
    """WAITAOF or WAIT; empty if nothing is confirmed."""
    min_replicas: int
    """Without so many the server takes no writes. 0: it always does."""

    @classmethod
    def read(cls, redis: Redis, confirmed: int, wait: str) -> Self:
        """The promise of this server.

        Raises:
            redis.RedisError: it does not answer.
        """
        info: dict[str, Any] = redis.info("replication")
        config = _configuration(redis)
        return cls(
            has_aof=bool(redis.info("persistence").get("aof_enabled")),
            fsync=config.get("appendfsync", ""),
            replicas=int(info.get("connected_slaves", 0)),
            confirmed=confirmed,
            wait=wait,
            min_replicas=_min_replicas(config, info),
        )

    def __str__(self) -> str:
        disk = f"on its disk (appendfsync {self.fsync or 'is hidden'})" if self.has_aof else "in its memory only"
        return f"what it accepts is {disk}, {self._copies()}; {_count(self.replicas)} connected"

    def gaps(self) -> Iterator[str]:
        """What an operator should change, each with its reason."""
        needed = max(1, self.confirmed)
        if (self.replicas or self.confirmed) and self.min_replicas < needed:
            yield (
                f"min-replicas-to-write is {self.min_replicas}: a primary that is cut off goes on to accept jobs, "
                f"which vanish when a replica has taken over. Set it to {needed}, and min-replicas-max-lag to 10"
            )
        if self.replicas < self.confirmed:
            yield (
                f"MASKQ_CONFIRM_REPLICAS is {self.confirmed} and {_count(self.replicas)} connected: every submission "
                "is answered with 503 (store_unconfirmed)"
            )
        if self.confirmed < self.replicas:
            yield (
                f"MASKQ_CONFIRM_REPLICAS is {self.confirmed} and {_count(self.replicas)} connected: what is confirmed "
                f"can vanish when another replica takes over. {self.replicas} rules that out, and stops submissions "
                "while a replica is away"
            )

    def _copies(self) -> str:
        if not self.confirmed:
            return "and a failover may forget the latest (MASKQ_CONFIRM_REPLICAS is 0)"
        where = "on the disks" if self.wait == "WAITAOF" else "in the memory"
        return f"and {where} of {self.confirmed} replica{'' if self.confirmed == 1 else 's'} ({self.wait})"


def _count(replicas: int) -> str:
    return f"{replicas} replica is" if replicas == 1 else f"{replicas} replicas are"


def _configuration(redis: Redis) -> dict[str, str]:
    """What CONFIG GET shows; nothing if this user may not see it."""
    try:
        found = cast(dict[str, str], redis.config_get(*_NAMES))
    except ResponseError:
        return {}
    return {text(name): text(value) for name, value in found.items()}


def _min_replicas(config: Mapping[str, str], info: Mapping[str, Any]) -> int:
    """INFO counts the replicas that keep up only if some are required, so it tells also who may not see CONFIG."""
    if "min_slaves_good_slaves" not in info:
        return 0
    return int(config.get("min-replicas-to-write", 1))
