"""How many jobs wait, for how long, and what became of all others: read in one go, at a cost that does not grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.domain.job import Priority
from shared.store import key_names
from shared.store.connection import text


@dataclass(frozen=True)
class LedgerStats:
    """Of one model, by the server's clock."""

    waiting: Mapping[Priority, int]
    """Queued jobs, suspects included."""
    oldest_s: Mapping[Priority, float]
    """How long ago the oldest of them was accepted; 0 if none waits."""
    quarantined: int
    running: int
    workers: int
    """Heard of lately."""
    memory_used_bytes: int
    """Of the server, for whatever is in it."""
    memory_max_bytes: int
    """0 if there is no limit."""
    delivery_overdue_s: float
    """For how long the delivery that is due, and not in hand, has been due; 0 if none is. Of all models."""
    deliveries: Mapping[str, int]
    """Tries of webhooks, of all models, by the state they left a delivery in. What never was is missing."""
    counts: Mapping[str, int]
    """Since the store was made: `accepted`, `cached`, `reaped`, each state a job ends in. What never was is missing."""


async def read_stats(redis: Redis, model_id: str, liveness_window_s: float) -> LedgerStats:
    """Ask the server. `liveness_window_s` is how long a worker may be silent and count.

    Raises:
        redis.RedisError: it does not answer.
    """
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds / 1000
    async with redis.pipeline(transaction=False) as batch:
        for priority in Priority:
            batch.zcard(key_names.waiting(model_id, priority))
            batch.zrange(key_names.waiting(model_id, priority), 0, 0, withscores=True)
        batch.zcard(key_names.quarantine(model_id))
        batch.zcard(key_names.running(model_id))
        batch.zcount(key_names.workers(model_id), now_ms - liveness_window_s * 1000, "+inf")
        batch.info("memory")
        batch.zrange(key_names.DELIVERY_HOSTS, 0, 0, withscores=True)
        batch.hgetall(key_names.DELIVERY_TRIES)
        batch.hgetall(key_names.counts(model_id))
        *queues, quarantined, running, workers, memory, due, deliveries, counts = await batch.execute()
    return LedgerStats(
        waiting=dict(zip(Priority, queues[::2], strict=True)),
        oldest_s={priority: _since_s(oldest, now_ms) for priority, oldest in zip(Priority, queues[1::2], strict=True)},
        quarantined=quarantined,
        running=running,
        workers=workers,
        memory_used_bytes=memory["used_memory"],
        memory_max_bytes=memory["maxmemory"],
        delivery_overdue_s=_since_s(due, now_ms),
        deliveries=_numbers(deliveries),
        counts=_numbers(counts),
    )


def _since_s(first: Sequence[tuple[bytes, float]], now_ms: float) -> float:
    """Since the millisecond that is the score of the first of a sorted set; 0 if it is empty, or yet to come."""
    return max(0.0, (now_ms - first[0][1]) / 1000) if first else 0.0


def _numbers(hash_: Mapping[bytes | str, bytes | str]) -> dict[str, int]:
    return {text(name): int(value) for name, value in hash_.items()}
