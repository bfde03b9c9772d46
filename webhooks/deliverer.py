"""The loop: take what is due, send it beside everything else that is under way, record how it went."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

from redis.exceptions import RedisError

from shared.domain.webhook import Attempt
from shared.outbound import Outbound
from shared.process.failpoints import failpoint
from shared.process.identity import process_name
from shared.process.notifier import POLL_S
from shared.settings import Settings
from shared.store.deliveries import DeliveryLease, DeliveryStore
from shared.store.webhook_secrets import WebhookSecretStore
from webhooks.schedule import judge
from webhooks.sender import Answer, Sender

_RECORD_RETRY_S = 0.5

logger = logging.getLogger(__name__)


class Deliverer:
    """Delivers until it is stopped. `wake` and `stop` are called in the loop's own thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = DeliveryStore.connect(settings)
        self._secrets = WebhookSecretStore.connect(settings)
        self._outbound = Outbound(settings.outbound, "webhook_url")
        self._sender = Sender(self._outbound, settings.webhooks.webhook_timeout_s)
        self._under_way: set[asyncio.Task[None]] = set()
        self._hosts: Counter[str] = Counter()
        """How many are under way to each host."""
        self._awake = asyncio.Event()
        self._is_stopping = False

    async def run(self) -> None:
        """Return once it is stopped and what was under way is done."""
        beating = asyncio.create_task(self._keep_beating())
        async with self._outbound:
            while not self._is_stopping:
                self._awake.clear()
                await self._take_what_is_due()
                await self._sleep()
            await self._finish()
        beating.cancel()
        await self._store.close()
        await self._secrets.close()

    def wake(self) -> None:
        """Something may be due."""
        self._awake.set()

    def stop(self) -> None:
        """Take no more."""
        self._is_stopping = True
        self._awake.set()

    async def _keep_beating(self) -> None:
        while True:
            try:
                await self._store.heartbeat(process_name())
            except RedisError as error:
                logger.warning("the store does not hear of us: %s", type(error).__name__)
            await asyncio.sleep(self._settings.liveness.heartbeat_s)

    async def _sleep(self) -> None:
        try:
            await asyncio.wait_for(self._awake.wait(), POLL_S)
        except TimeoutError:
            return  # look unasked: a notifier may have been lost, or a retry be due

    async def _take_what_is_due(self) -> None:
        try:
            while not self._is_stopping and len(self._under_way) < self._settings.webhooks.webhook_concurrency:
                lease = await self._store.claim(self._full_hosts())
                if lease is None:
                    return
                self._begin(lease)
        except RedisError as error:
            logger.warning("no more deliveries for now, the store does not answer: %s", type(error).__name__)
        except Exception:
            logger.exception("could not take a delivery")

    def _full_hosts(self) -> list[str]:
        most = self._settings.webhooks.webhook_host_concurrency
        return [host for host, count in self._hosts.items() if count >= most]

    def _begin(self, lease: DeliveryLease) -> None:
        host = lease.webhook.host
        task = asyncio.create_task(self._deliver(lease))
        self._under_way.add(task)
        self._hosts[host] += 1

        def end(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            self._hosts -= Counter([host])
            self.wake()  # there is room for another

        task.add_done_callback(end)

    async def _finish(self) -> None:
        """Wait for what is under way; what is not done in time comes back when its lease ends."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._settings.liveness.drain_s)
        for task in self._under_way:
            task.cancel()

    # --- One delivery -------------------------------------------------------------------------------------------------

    async def _deliver(self, lease: DeliveryLease) -> None:
        try:
            secrets = await self._secrets.show(lease.job.owner)
            begin = time.monotonic()
            answer = await self._sender.send(lease, secrets)
            failpoint("webhooks.sent")
            await self._record(lease, answer, time.monotonic() - begin)
        except (RedisError, TimeoutError) as error:
            logger.warning("job %s: not delivered, the store does not answer: %s", lease.job.id, type(error).__name__)
        except Exception:
            logger.exception("job %s: its delivery failed; it is tried again", lease.job.id)

    async def _record(self, lease: DeliveryLease, answer: Answer, duration_s: float) -> None:
        """Write down how it went. While the store is away that is tried again, until the delivery is due anyway."""
        verdict = judge(answer, lease.attempts, self._settings.webhooks.webhook_retries_s)
        attempt = Attempt(
            at_ms=lease.claimed_at_ms, duration_s=round(duration_s, 3), status=answer.status, error=answer.error
        )
        async with asyncio.timeout(self._settings.webhooks.webhook_timeout_s):
            while True:
                try:
                    state = await self._store.record(lease, attempt, verdict)
                except RedisError as error:
                    logger.warning("job %s: not recorded yet: %s", lease.job.id, type(error).__name__)
                    await asyncio.sleep(_RECORD_RETRY_S)
                else:
                    how = answer.status or answer.error
                    logger.info("job %s: webhook %s (%s)", lease.job.id, state or "not ours any more", how)
                    return
