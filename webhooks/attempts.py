"""One attempt of a delivery: sends the message, and records the outcome in the store."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Self

from redis.exceptions import RedisError

from shared.domain.webhook import Attempt, DeliveryState
from shared.outbound import Outbound
from shared.process.failpoints import failpoint
from shared.settings import Settings, WebhookSettings
from shared.store.deliveries import DeliveryLease, DeliveryStore, Verdict
from shared.store.server_faults import reason_of
from shared.store.webhook_secrets import WebhookSecretStore
from webhooks.schedule import verdict_after
from webhooks.sender import ReceiverResponse, Sender

_RECORD_RETRY_S = 0.5

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
        self._unrecorded = 0

    @property
    def is_behind(self) -> bool:
        """Whether the store could not be told of an attempt yet. Then no delivery should be claimed: it could be that
        one, whose lease has ended meanwhile."""
        return self._unrecorded > 0

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
        """Send the message of a claimed delivery once, and record the outcome. Errors are logged; the delivery is then
        due again when its lease ends."""
        try:
            secrets = await self._secrets.show(lease.subject.owner)
            begin = time.monotonic()
            response = await self._sender.send(lease, secrets)
            failpoint("webhooks.sent")
            await self._record(lease, response, time.monotonic() - begin)
        except RedisError as error:
            logger.warning("%s: not delivered, the store does not answer: %s", lease.subject.id, type(error).__name__)
        except Exception:
            logger.exception("%s: the delivery failed; it will be attempted again", lease.subject.id)

    async def _record(self, lease: DeliveryLease, response: ReceiverResponse, duration_s: float) -> None:
        """Record the outcome. While the store does not answer this is repeated: meanwhile nobody can claim the
        delivery, although its lease may end."""
        verdict = verdict_after(response, lease.attempts, self._settings.webhook_retries_s)
        attempt = Attempt(
            at_ms=lease.claimed_at_ms, duration_s=round(duration_s, 3), status=response.status, error=response.error
        )
        state = await self._recorded(lease, attempt, verdict)
        outcome = response.status or response.error
        logger.info("%s: webhook %s (%s)", lease.subject.id, state or "claimed by another", outcome)

    async def _recorded(self, lease: DeliveryLease, attempt: Attempt, verdict: Verdict) -> DeliveryState | None:
        """What the store returns once it answers. The first error makes this runner be behind until then."""
        try:
            return await self._store.record(lease, attempt, verdict)
        except RedisError as error:
            logger.warning("%s: not recorded yet: %s", lease.subject.id, reason_of(error))
        self._unrecorded += 1
        try:
            while True:
                await asyncio.sleep(_RECORD_RETRY_S)
                with suppress(RedisError):
                    return await self._store.record(lease, attempt, verdict)
        finally:
            self._unrecorded -= 1
