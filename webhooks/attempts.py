"""One attempt of a delivery: sends the message, and records the outcome in the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Self, TypeVar

from redis.exceptions import RedisError

from shared.domain.webhook import Attempt
from shared.errors import StoreUnconfirmed
from shared.outbound import Outbound
from shared.process.failpoints import failpoint
from shared.settings import Settings, WebhookSettings
from shared.store.deliveries import DeliveryLease, DeliveryStore
from shared.store.server_faults import reason_of
from shared.store.webhook_secrets import WebhookSecretStore
from webhooks.schedule import verdict_after
from webhooks.sender import ReceiverResponse, Sender

_T = TypeVar("_T")
_RETRY_S = 0.5
"""Pause before the store is asked again."""
_NOT_YET = (RedisError, StoreUnconfirmed)
"""What ends by itself: there is no server, or too few replicas confirm."""

logger = logging.getLogger(__name__)


class AttemptRunner:
    """Runs attempts of claimed deliveries, many at once. Use as an async context."""

    def __init__(
        self, store: DeliveryStore, secrets: WebhookSecretStore, outbound: Outbound, settings: WebhookSettings
    ) -> None:
        """Takes over `secrets` and `outbound`: they are closed with the context. `store` stays open."""
        self._store = store
        self._secrets = secrets
        self._outbound = outbound
        self._sender = Sender(outbound, settings.webhook_timeout_s)
        self._settings = settings
        self._waiting = 0
        """Number of claimed deliveries that cannot be sent, or not be recorded, before the store answers."""

    @property
    def is_behind(self) -> bool:
        """Whether the store could not be told of a claim or an attempt yet. Then no delivery should be claimed: it
        could be one of those, whose lease has ended meanwhile; or it could not be sent either."""
        return self._waiting > 0

    @classmethod
    def connect(cls, settings: Settings, store: DeliveryStore) -> Self:
        """Make a runner that records in `store`."""
        outbound = Outbound(settings.outbound, "webhook_url", settings.redis.ca_file)
        return cls(store, WebhookSecretStore.connect(settings), outbound, settings.webhooks)

    async def __aenter__(self) -> Self:
        await self._outbound.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._outbound.__aexit__(*exc_info)
        await self._secrets.close()

    async def run(self, lease: DeliveryLease) -> None:
        """Send the message of a claimed delivery once, and record the outcome. Nothing is sent before replicas have
        confirmed the claim. Errors are logged; the delivery is then due again when its lease ends."""
        try:
            kept, secrets = await self._answered(lease, "not sent yet", partial(self._prepare, lease))
            if kept is None:
                logger.info("%s: claimed by another, nothing is sent", lease.subject.id)
                return
            begin = time.monotonic()
            response = await self._sender.send(kept, secrets)
            failpoint("webhooks.sent")
            await self._record(kept, response, time.monotonic() - begin)
        except Exception:
            logger.exception("%s: the delivery failed; it will be attempted again", lease.subject.id)

    async def _prepare(self, lease: DeliveryLease) -> tuple[DeliveryLease | None, list[str]]:
        """The claim, if it is not stale, with the secrets that sign its message."""
        return await self._store.keep(lease), await self._secrets.show(lease.subject.owner)

    async def _record(self, lease: DeliveryLease, response: ReceiverResponse, duration_s: float) -> None:
        verdict = verdict_after(response, lease.attempts, self._settings.webhook_retries_s)
        attempt = Attempt(
            at_ms=lease.claimed_at_ms, duration_s=round(duration_s, 3), status=response.status, error=response.error
        )
        record = partial(self._store.record, lease, attempt, verdict)
        state = await self._answered(lease, "not recorded yet", record)
        outcome = response.status or response.error
        logger.info("%s: webhook %s (%s)", lease.subject.id, state or "claimed by another", outcome)

    async def _answered(self, lease: DeliveryLease, delayed: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What the store returns once it answers, and replicas confirm. The first error makes this runner be behind
        until then, and is logged unless it is behind already."""
        try:
            return await ask()
        except _NOT_YET as error:
            if not self.is_behind:
                logger.warning("%s: %s: %s", lease.subject.id, delayed, reason_of(error))
        self._waiting += 1
        try:
            while True:
                await asyncio.sleep(_RETRY_S)
                with suppress(*_NOT_YET):
                    return await ask()
        finally:
            self._waiting -= 1
