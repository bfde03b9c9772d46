"""Deliveries of webhooks: claim one that is due, record an attempt, read a delivery, deliver again.

The scripts that end a job also write its delivery, and that of its batch, so that none is missing. A delivery is
claimed like a job, under a fence token and a lease. At the end of the lease it is due again. A claim is kept before its
message is sent: then replicas confirm it, and with it the end of the job. To claim does not wait for them, so that many
claims wait at once and not one after the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self, cast

from redis.asyncio import Redis

from shared.domain.batch import Batch
from shared.domain.job import Job
from shared.domain.webhook import Attempt, Delivery, DeliveryState, Webhook
from shared.errors import NothingToDeliver
from shared.settings import Settings
from shared.store import key_names
from shared.store.confirmation import AsyncConfirmer
from shared.store.connection import async_redis
from shared.store.fence_token import new_nonce
from shared.store.liveness import liveness_window_s
from shared.store.lua_script import AsyncScript
from shared.store.records import batch_from_hash, job_from_hash, named_values, text

_MAX_ATTEMPTS_KEPT = 20
"""Of one delivery. More than any schedule has, so that only deliveries that clients repeat lose old ones."""


@dataclass(frozen=True)
class DeliveryLease:
    """A delivery that one process has claimed."""

    subject: Job | Batch
    """What has ended."""
    webhook: Webhook
    token: str
    """The fence token of the claim."""
    attempts: int
    """Attempts before this one, since the delivery was first due or its client last requested it again."""
    claimed_at_ms: int
    """Unix milliseconds of the Redis server's clock: when the lease began."""


@dataclass(frozen=True)
class Verdict:
    """State of a delivery after an attempt."""

    state: DeliveryState
    retry_in_s: float = 0.0
    """Seconds until the next attempt; only used if the state is pending."""


class DeliveryStore:
    """Async, safe to share between tasks. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        wait_s = settings.redis.redis_timeout_s if settings.redis.confirm_replicas else 0.0
        self._lease_ms = round(1000 * (2 * settings.webhooks.webhook_timeout_s + wait_s))
        self._liveness_window_s = liveness_window_s(settings.liveness)
        self._confirmer = AsyncConfirmer(redis, settings.redis)
        self._heartbeat = AsyncScript(redis, "heartbeat_deliverer")
        self._live = AsyncScript(redis, "live")
        self._claim = AsyncScript(redis, "claim_delivery")
        self._keep = AsyncScript(redis, "keep_delivery")
        self._record_attempt = AsyncScript(redis, "record_attempt")
        self._redeliver = AsyncScript(redis, "redeliver")

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """A store with its own pool of connections; the first command connects. A command whose connection is lost is
        sent again: if a claim is made twice, the first is due again at the end of its lease."""
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._confirmer.close()
        await self._redis.aclose()

    async def heartbeat(self, deliverer: str) -> None:
        """Record that this deliverer is alive."""
        await self._heartbeat(deliverer=deliverer, window_s=self._liveness_window_s)

    async def live_deliverers(self) -> list[str]:
        """Ids of the deliverers whose last heartbeat is within the liveness window."""
        found = await self._live(set=key_names.DELIVERERS, window_s=self._liveness_window_s)
        return [text(each) for each in found["names"]]

    async def claim(self, full_hosts: Collection[str], full_clients: Collection[str] = ()) -> DeliveryLease | None:
        """Claim the first due delivery to none of `full_hosts` and of none of `full_clients`; None if there is none."""
        full = [*full_hosts, *full_clients]
        found = await self._claim(lease_ms=self._lease_ms, nonce=new_nonce(), hosts_count=len(full_hosts), full=full)
        if not found:
            return None
        record = named_values(found["record"])
        subject = batch_from_hash(text(found["id"]), record) if found["is_batch"] else job_from_hash(record)
        return DeliveryLease(
            subject,
            cast(Webhook, subject.webhook),
            token=text(found["token"]),
            attempts=found["attempts"],
            claimed_at_ms=found["now_ms"],
        )

    async def keep(self, lease: DeliveryLease) -> DeliveryLease | None:
        """Begin the lease of a claim anew, right before its message is sent. None if the claim is stale.

        Raises:
            StoreUnconfirmed: a failover may forget the claim, or even the end of its job. Send nothing yet; repeat it.
        """
        found = await self._keep.confirmed(
            self._confirmer, id=lease.subject.id, token=lease.token, lease_ms=self._lease_ms
        )
        return replace(lease, claimed_at_ms=found["now_ms"]) if found else None

    async def record(self, lease: DeliveryLease, attempt: Attempt, verdict: Verdict) -> DeliveryState | None:
        """Record the attempt of a claim; again changes nothing. Returns the state of the delivery, which is failed if
        its job or batch would expire before the next attempt. Returns None, and records nothing, if the claim is stale.

        Raises:
            StoreUnconfirmed: it is recorded, and a failover may forget it. Repeat it.
        """
        found = await self._record_attempt.confirmed(
            self._confirmer,
            id=lease.subject.id,
            token=lease.token,
            attempt=attempt.model_dump_json(),
            state=verdict.state,
            retry_in_ms=round(1000 * verdict.retry_in_s),
            max_attempts_kept=_MAX_ATTEMPTS_KEPT,
        )
        return DeliveryState(text(found["state"])) if found else None

    async def read(self, ended_id: str) -> Delivery | None:
        """The delivery of the webhook of this job or batch; None if it has no webhook or has not ended."""
        async with self._redis.pipeline(transaction=False) as batch:
            batch.hmget(key_names.delivery(ended_id), "state", "host", "client")
            batch.lrange(key_names.attempts(ended_id), 0, -1)
            (state, host, client), attempts = await batch.execute()
        if state is None:
            return None
        lane = f"{text(host)} {text(client)}" if client else text(host)  # as `lane_of` in common.lua
        due_ms = await self._redis.zscore(key_names.deliveries(lane), ended_id)
        return Delivery(
            ended_id=ended_id,
            state=DeliveryState(text(state)),
            attempts=[Attempt.model_validate_json(each) for each in attempts],
            next_attempt_at_ms=None if due_ms is None else int(due_ms),
        )

    async def redeliver(self, ended_id: str) -> None:
        """Make a delivery due at once, in any state. Its recorded attempts stay.

        Raises:
            NothingToDeliver: the job or batch has no webhook, or has not ended.
            StoreUnconfirmed: it is due, and a failover may forget that.
        """
        found = await self._redeliver.confirmed(self._confirmer, id=ended_id)
        if not found["is_due"]:
            raise NothingToDeliver("it was submitted without a webhook_url, or has not ended yet")
