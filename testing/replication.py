"""Two real servers, one of which follows the other, for tests of what a failover forgets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from shared.store.confirmation import wait_command

_SYNC_S = 60.0


@dataclass(frozen=True)
class ReplicatedServers:
    """A primary and its replica."""

    primary_url: str
    replica_url: str

    def follow(self) -> None:
        """Let the replica follow the primary, and return once it has all data, and writes on its disk what comes."""
        with Redis.from_url(self.replica_url) as replica:
            replica.replicaof("127.0.0.1", self.primary_url.rpartition(":")[2].partition("/")[0])
        self.wait_until_in_sync()
        with Redis.from_url(self.primary_url) as primary:
            while not _confirms(primary):
                time.sleep(0.01)

    def wait_until_in_sync(self) -> None:
        """Return once the replica has all that the primary has.

        Raises:
            TimeoutError: it has not in time.
        """
        with Redis.from_url(self.primary_url) as primary, Redis.from_url(self.replica_url) as replica:
            deadline = time.monotonic() + _SYNC_S
            while _offset(primary) != _offset(replica) or not _is_linked(replica):
                if time.monotonic() > deadline:
                    raise TimeoutError("the replica does not follow the primary")
                time.sleep(0.01)

    def cut_off(self) -> None:
        """Let the replica get all data so far, and no further data. It stays a replica."""
        self.wait_until_in_sync()
        with Redis.from_url(self.replica_url) as replica:
            replica.replicaof("127.0.0.1", "1")  # no server listens on this port

    def kill_primary(self) -> None:
        """End the primary with SIGKILL."""
        with Redis.from_url(self.primary_url) as primary:
            os.kill(int(primary.info("server")["process_id"]), signal.SIGKILL)

    def promote(self) -> None:
        """Make the replica a primary, as a failover does."""
        with Redis.from_url(self.replica_url) as replica:
            replica.replicaof("NO", "ONE")


@contextmanager
def replicated(
    server: Callable[[Path], AbstractContextManager[str]], folder: Path, **config: str | int
) -> Iterator[ReplicatedServers]:
    """Two servers of one kind, with this configuration in common; `_` stands for `-`."""
    with ExitStack() as stack:
        urls = []
        for name in ("primary", "replica"):
            (folder / name).mkdir(parents=True)
            urls.append(stack.enter_context(server(folder / name)))
            with Redis.from_url(urls[-1]) as redis:
                for option, value in {"repl_diskless_sync_delay": 0, **config}.items():
                    redis.config_set(option.replace("_", "-"), value)
        servers = ReplicatedServers(*urls)
        servers.follow()
        yield servers


def _confirms(primary: Redis) -> bool:
    """Whether the replica confirms a write. After a full synchronization it does not until it has a new AOF."""
    primary.delete("unused")
    primary.set("unused", "")
    primary.delete("unused")
    command = wait_command(primary)
    reply: Any = primary.execute_command(command, *([1] if command == "WAITAOF" else []), 1, 50)
    return bool(reply == 1 or reply == [1, 1])


def _replication(redis: Redis) -> dict[str, Any]:
    return redis.info("replication")


def _offset(redis: Redis) -> int:
    """How much of the stream of writes the server has made or received, in bytes."""
    info = _replication(redis)
    return int(info["slave_repl_offset"] if info["role"] == "slave" else info["master_repl_offset"])


def _is_linked(replica: Redis) -> bool:
    return bool(_replication(replica).get("master_link_status") == "up")
