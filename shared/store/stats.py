"""Numbers of jobs by state, ages and counters. Reading them costs the same for any length of the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.domain.job import Priority
from shared.store import key_names
from shared.store.records import text


@dataclass(frozen=True)
class LedgerStats:
    """The jobs of one model and the whole server, by the server's clock."""

    waiting: Mapping[Priority, int]
    """Queued jobs, quarantined ones included."""
    oldest_age_s: Mapping[Priority, float]
    """Age of the oldest of them since its acceptance; 0 if there is none."""
    quarantined: int
    """Queued jobs that are quarantined."""
    running: int
    """Jobs that workers have claimed."""
    workers: int
    """Workers whose last heartbeat is within the liveness window."""
    memory_used_bytes: int
    """Memory of the server that is in use, for whatever purpose."""
    memory_max_bytes: int
    """Its limit; 0 if there is none."""
    delivery_overdue_s: float
    """Age of the oldest unclaimed due delivery, of all models; 0 if there is none. Deliveries of a client all of whose
    due ones are to hosts that are full count from when a deliverer last looked at them."""
    delivery_counts: Mapping[str, int]
    """Delivery attempts of all models, by the state in which they left the delivery. States without any are missing."""
    job_counts: Mapping[str, int]
    """Jobs since the store was created: `accepted`, `cached`, `reaped`, and by the state in which they ended. Events
    that never happened are missing."""


async def read_stats(redis: Redis, model_id: str, liveness_window_s: float) -> LedgerStats:
    """Read the stats of a model. Workers count as alive for `liveness_window_s` after their last heartbeat.

    Raises:
        redis.RedisError: the server does not answer.
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
        batch.zrange(key_names.DELIVERY_CLIENTS, 0, 0, withscores=True)
        batch.hgetall(key_names.DELIVERY_COUNTS)
        batch.hgetall(key_names.counts(model_id))
        *queues, quarantined, running, workers, memory, due, delivery_counts, counts = await batch.execute()
    return LedgerStats(
        waiting=dict(zip(Priority, queues[::2], strict=True)),
        oldest_age_s={priority: _age_s(first, now_ms) for priority, first in zip(Priority, queues[1::2], strict=True)},
        quarantined=quarantined,
        running=running,
        workers=workers,
        memory_used_bytes=memory["used_memory"],
        memory_max_bytes=memory["maxmemory"],
        delivery_overdue_s=_age_s(due, now_ms),
        delivery_counts=_numbers(delivery_counts),
        job_counts=_numbers(counts),
    )


def _age_s(first: Sequence[tuple[bytes, float]], now_ms: float) -> float:
    """Seconds since the millisecond that is the score of a set's first member; 0 if it has none or is in the future."""
    return max(0.0, (now_ms - first[0][1]) / 1000) if first else 0.0


def _numbers(hash_: Mapping[bytes | str, bytes | str]) -> dict[str, int]:
    return {text(name): int(value) for name, value in hash_.items()}
