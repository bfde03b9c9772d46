"""Deliveries of webhooks: claim what is due, record how it went; look at them, have them sent again.

The moves that end a job also write its delivery, so none can be missing. A delivery is claimed like a job: under a
fence token and a lease, after which it is due again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self, cast

from redis.asyncio import Redis

from shared.domain.job import Job
from shared.domain.webhook import Attempt, Delivery, DeliveryState, Webhook
from shared.errors import NothingToDeliver
from shared.settings import Settings
from shared.store import key_names
from shared.store.connection import async_redis, job_from_hash, liveness_window_s, script, text

_MAX_ATTEMPTS_KEPT = 20
"""More than any schedule has, unless its client asked for more."""


@dataclass(frozen=True)
class DeliveryLease:
    """A delivery in the hands of one process."""

    job: Job
    webhook: Webhook
    fence: int
    tries: int
    """How often it was tried since it became due for the first time, or its client asked for it."""
    claimed_at_ms: int
    """Unix milliseconds of the Redis server's clock."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a delivery after a try."""

    state: DeliveryState
    retry_in_s: float = 0.0
    """Only if it is pending."""


class DeliveryStore:
    """Async, safe to share between tasks. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._lease_ms = round(2000 * settings.webhooks.webhook_timeout_s)
        self._liveness_window_s = liveness_window_s(settings.liveness)
        self._beat = redis.register_script(script("beat_deliverer"))
        self._live = redis.register_script(script("live"))
        self._claim = redis.register_script(script("claim_delivery"))
        self._record = redis.register_script(script("record_delivery"))
        self._redeliver = redis.register_script(script("redeliver"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make a store over a pool of connections. A lost connection is tried again: a delivery whose claim was not
        heard of comes back when its lease ends."""
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._redis.aclose()

    async def beat(self, deliverer: str) -> None:
        """Say that this deliverer lives."""
        await self._beat(args=[deliverer, self._liveness_window_s])

    async def live_deliverers(self) -> list[str]:
        """Those that have been heard of lately."""
        return [text(each) for each in await self._live(args=[key_names.DELIVERERS, self._liveness_window_s])]

    async def claim(self, full_hosts: Collection[str]) -> DeliveryLease | None:
        """Take the next delivery that is due and not to one of these hosts; None if there is none."""
        found = await self._claim(args=[self._lease_ms, *full_hosts])
        if found is None:
            return None
        fence, tries, now_ms, record = found
        job = job_from_hash(dict(zip(record[::2], record[1::2], strict=True)))
        return DeliveryLease(job, cast(Webhook, job.webhook), fence, tries, now_ms)

    async def record(self, lease: DeliveryLease, attempt: Attempt, verdict: Verdict) -> DeliveryState | None:
        """Write down how a try went. Returns the delivery's state, which is failed if there would be no job any more by
        the time of the next try; or None, and writes nothing, if it is no longer in these hands."""
        state = await self._record(
            args=[
                lease.job.id,
                lease.fence,
                attempt.model_dump_json(),
                verdict.state,
                round(1000 * verdict.retry_in_s),
                _MAX_ATTEMPTS_KEPT,
            ]
        )
        return None if state is None else DeliveryState(text(state))

    async def read(self, job_id: str) -> Delivery | None:
        """How the announcement of this job's end fares; None if there is none, or not yet."""
        async with self._redis.pipeline(transaction=False) as batch:
            batch.hmget(key_names.delivery(job_id), "state", "host")
            batch.lrange(key_names.attempts(job_id), 0, -1)
            (state, host), attempts = await batch.execute()
        if state is None:
            return None
        due_ms = await self._redis.zscore(key_names.deliveries(text(host)), job_id)
        return Delivery(
            job_id=job_id,
            state=DeliveryState(text(state)),
            attempts=[Attempt.model_validate_json(each) for each in attempts],
            next_attempt_at_ms=None if due_ms is None else int(due_ms),
        )

    async def redeliver(self, job_id: str) -> None:
        """Make a delivery due at once, whatever became of it, with all its tries before it.

        Raises:
            NothingToDeliver: the job has no webhook, or has not ended.
        """
        if not await self._redeliver(args=[job_id]):
            raise NothingToDeliver("it was submitted without a webhook_url, or has not ended yet")
