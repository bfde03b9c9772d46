"""The configuration of three servers and three Sentinels: what a test can choose, and the lines of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testing.redis_process import PORT, RedisProcess

SERVICE = "maskq"
"""The name under which the Sentinels know the group."""
QUORUM = 2
"""How many Sentinels must believe that the primary is down."""


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM format, for all six processes. The certificate is for 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class GroupOptions:
    """How the group is configured."""

    program: str = ""
    """A server program, such as Debian's `redis-server`. Empty: Valkey from the wheel."""
    appendfsync: str = "always"
    down_after_ms: int = 1000
    """How long a server must be silent until a Sentinel believes that it is down."""
    failover_timeout_ms: int = 3000
    """Half the least time between two failovers that the Sentinels decide on."""
    min_replicas_to_write: int = 0
    min_replicas_max_lag_s: int = 2
    password: str = ""
    """Of the servers, for replicas, Sentinels and our own connections. Empty: none."""
    user: str = ""
    """Who has this password, if `server_lines` have users. Empty: the default user."""
    sentinel_password: str = ""
    """Of the Sentinels, for each other and their clients. Empty: none."""
    tls: TlsFiles | None = None
    """None: no TLS. Valkey from the wheel has none."""
    server_lines: Sequence[str] = ()
    """Further lines of the servers' configuration."""
    sentinel_lines: Sequence[str] = ()
    """Further lines of the Sentinels' configuration."""

    def server(self, server: RedisProcess, primary: RedisProcess | None) -> list[str]:
        """The configuration of a server that is a replica of `primary`, or the primary."""
        return [
            *self._port(),
            "replica-announce-ip 127.0.0.1",
            f"replica-announce-port {server.public_port}",
            *([f"replicaof 127.0.0.1 {primary.public_port}"] if primary else []),
            "appendonly yes",
            f"appendfsync {self.appendfsync}",
            'save ""',
            "maxmemory-policy noeviction",
            f"min-replicas-to-write {self.min_replicas_to_write}",
            f"min-replicas-max-lag {self.min_replicas_max_lag_s}",
            # A replica is in step again soon after a fault.
            "repl-ping-replica-period 1",
            "repl-timeout 10",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            "repl-backlog-size 64mb",
            *([f"masterauth {self.password}"] if self.password else []),
            *([f"masteruser {self.user}"] if self.user else []),
            *([f"requirepass {self.password}"] if self.password and not self.user else []),
            *self.server_lines,
        ]

    def sentinel(
        self, sentinel: RedisProcess, servers: Sequence[RedisProcess], sentinels: Sequence[RedisProcess]
    ) -> list[str]:
        """The configuration of a Sentinel of a new group, whose primary is the first of `servers`. It knows all
        others from the start; it would take seconds to find them."""
        first, *replicas = servers
        others = [other for other in sentinels if other is not sentinel]
        return [
            *self._port(),
            *([f"requirepass {self.sentinel_password}"] if self.sentinel_password else []),
            "sentinel announce-ip 127.0.0.1",
            f"sentinel announce-port {sentinel.public_port}",
            f"sentinel myid {_id(sentinel)}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {first.public_port} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {self.down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {self.failover_timeout_ms}",
            f"sentinel parallel-syncs {SERVICE} 2",
            *([f"sentinel auth-pass {SERVICE} {self.password}"] if self.password else []),
            *([f"sentinel auth-user {SERVICE} {self.user}"] if self.user else []),
            *self.sentinel_lines,
            *(f"sentinel known-replica {SERVICE} 127.0.0.1 {each.public_port}" for each in replicas),
            *(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {each.public_port} {_id(each)}" for each in others),
        ]

    def connection(self, *, to_sentinel: bool) -> Mapping[str, Any]:
        """Arguments of our own connections to the processes. They do not verify certificates."""
        password = self.sentinel_password if to_sentinel else self.password
        user = None if to_sentinel else self.user or None
        tls = {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False} if self.tls else {}
        return {"username": user, "password": password or None, **tls}

    def _port(self) -> list[str]:
        if self.tls is None:
            return [f"port {PORT}"]
        files = {"ca-cert": self.tls.authority, "cert": self.tls.certificate, "key": self.tls.key}
        return [
            "port 0",
            f"tls-port {PORT}",
            *(f"tls-{name}-file {path}" for name, path in files.items()),
            "tls-auth-clients no",
            "tls-replication yes",
        ]


def _id(sentinel: RedisProcess) -> str:
    return hashlib.sha1(sentinel.host.encode()).hexdigest()
