"""How many jobs wait, for how long, and what became of all others: read in one go, at a cost that does not grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.job import Priority
from shared.store import keys
from shared.store.script import text


@dataclass(frozen=True)
class LedgerFigures:
    """Of one model, by the server's clock."""

    waiting: Mapping[Priority, int]
    """Queued jobs, suspects included."""
    oldest_s: Mapping[Priority, float]
    """How long ago the oldest of them was accepted; 0 if none waits."""
    suspects: int
    running: int
    workers: int
    """Heard of lately."""
    memory_used_bytes: int
    """Of the server, for whatever is in it."""
    memory_max_bytes: int
    """0 if there is no limit."""
    deliveries: Mapping[str, int]
    """Tries of webhooks, of all models, by the state they left a delivery in. What never was is missing."""
    counts: Mapping[str, int]
    """Since the store was made: `accepted`, `cached`, `reaped`, each state a job ends in. What never was is missing."""


async def read_figures(redis: Redis, model_id: str, lately_s: float) -> LedgerFigures:
    """Ask the server. `lately_s` is how long a worker may be silent and count.

    Raises:
        redis.RedisError: it does not answer.
    """
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds / 1000
    async with redis.pipeline(transaction=False) as batch:
        for priority in Priority:
            batch.zcard(keys.waiting(model_id, priority))
            batch.zrange(keys.waiting(model_id, priority), 0, 0, withscores=True)
        batch.zcard(keys.suspects(model_id))
        batch.zcard(keys.running(model_id))
        batch.zcount(keys.workers(model_id), now_ms - lately_s * 1000, "+inf")
        batch.info("memory")
        batch.hgetall(keys.DELIVERY_TRIES)
        batch.hgetall(keys.counts(model_id))
        *queues, suspects, running, workers, memory, deliveries, counts = await batch.execute()
    return LedgerFigures(
        waiting=dict(zip(Priority, queues[::2], strict=True)),
        oldest_s={
            priority: max(0.0, (now_ms - oldest[0][1]) / 1000) if oldest else 0.0
            for priority, oldest in zip(Priority, queues[1::2], strict=True)
        },
        suspects=suspects,
        running=running,
        workers=workers,
        memory_used_bytes=memory["used_memory"],
        memory_max_bytes=memory["maxmemory"],
        deliveries=_numbers(deliveries),
        counts=_numbers(counts),
    )


def _numbers(hash_: Mapping[bytes | str, bytes | str]) -> dict[str, int]:
    return {text(name): int(value) for name, value in hash_.items()}
