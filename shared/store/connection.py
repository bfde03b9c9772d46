"""What both sides of the store share: how to connect, the scripts in `moves/`, the records those write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.domain.job import Job
from shared.settings import LivenessSettings, RedisSettings, RetentionSettings
from shared.store import key_names

_MISSED_BEATS = 3
"""A worker or deliverer that missed this many heartbeats counts as gone."""
_CONNECTIONS = 64
"""Of one front end process. Redis does one thing at a time, so more would only wait there instead of here."""


def liveness_window_s(settings: LivenessSettings) -> float:
    """For how many seconds a worker or deliverer may be silent and still count as there."""
    return _MISSED_BEATS * settings.heartbeat_s


def script(name: str) -> str:
    """The Lua source of the move `name`, with the names of keys and what all moves share in front of it."""
    moves = files("shared.store") / "scripts"
    return "\n".join([key_names.as_lua(), *((moves / f"{part}.lua").read_text("utf-8") for part in ("common", name))])


def connection_options(settings: RedisSettings) -> dict[str, Any]:
    """How to connect: a server that is frozen or gone is noticed within `redis_timeout_s`."""
    return {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def async_redis(settings: RedisSettings) -> Redis:
    """A pool of connections for the front end; the first command connects. Whoever finds all in use waits, so that
    thousands of clients woken at once are no flood for the server. A lost connection is tried again."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        **connection_options(settings),
        max_connections=_CONNECTIONS,
        timeout=settings.redis_timeout_s,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return Redis.from_pool(pool)


@dataclass(frozen=True)
class Retention:
    """How long an ended job is kept, its image, and its tombstone after that. Seconds."""

    job_s: int
    image_s: int
    tombstone_s: int

    @classmethod
    def from_settings(cls, settings: RetentionSettings) -> Retention:
        return cls(settings.retention_s, settings.image_retention_s, settings.tombstone_s)

    @property
    def args(self) -> tuple[int, int, int]:
        """In the order in which the moves that end a job take them."""
        return self.job_s, self.image_s, self.tombstone_s


def job_from_hash(record: Mapping[bytes | str, bytes | str]) -> Job:
    """Read a job's record as Redis returns it: as bytes, whatever the types of its client allow for."""
    fields = {text(key): text(value) for key, value in record.items()}
    parsed = {name: json.loads(fields[name]) for name in ("request", "webhook", "error") if name in fields}
    return Job.model_validate({**fields, **json.loads(fields.get("metrics", "{}")), **parsed})


def text(value: bytes | str) -> str:
    """An answer of Redis as text."""
    return value.decode() if isinstance(value, bytes) else value
