"""How much of the server's memory is in use, and how much new images may use."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.store import key_names

_SAMPLE_S = 1.0
"""How long a look at the server stays valid."""
FULL_SHARE = 0.8
"""Share of the server's memory from which on jobs are refused."""


@dataclass(frozen=True)
class MemorySample:
    """The server's memory at one moment."""

    limit_bytes: int = 0
    """What may be in use until jobs are refused; 0 if the server has no limit."""
    used_bytes: int = 0
    image_bytes: int = 0
    """The part of it that images use."""

    @property
    def is_full(self) -> bool:
        return 0 < self.limit_bytes < self.used_bytes

    @property
    def other_bytes(self) -> int:
        """What is in use for other things than images."""
        return self.used_bytes - self.image_bytes


class StoreMemory:
    """Looks at the server's memory, at most once a second."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._sampled_at = -math.inf
        self._sample = MemorySample()

    async def sample(self) -> MemorySample:
        """The server's memory, as it was at most a second ago.

        Raises:
            redis.RedisError: the server does not answer.
        """
        now = time.monotonic()
        if now - self._sampled_at >= _SAMPLE_S:
            async with self._redis.pipeline(transaction=False) as batch:
                batch.info("memory")
                batch.hget(key_names.IMAGE_BYTES, "total")
                memory, image_bytes = await batch.execute()
            limit_bytes = int(memory["maxmemory"] * FULL_SHARE)
            self._sample = MemorySample(limit_bytes, memory["used_memory"], int(image_bytes or 0))
            self._sampled_at = now
        return self._sample
