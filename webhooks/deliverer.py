"""The loop of the service: claims due deliveries, and runs an attempt of each beside the others in progress."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Self

from redis.exceptions import RedisError

from shared.domain.fair_share import is_within_share
from shared.process.fault_log import FaultLog
from shared.process.identity import process_name
from shared.process.notifier import POLL_S
from shared.settings import LivenessSettings, Settings, WebhookSettings
from shared.store.deliveries import DeliveryLease, DeliveryStore
from webhooks.attempts import AttemptRunner

logger = logging.getLogger(__name__)


class Deliverer:
    """Delivers until it is stopped. Call `wake` and `stop` in the thread of its event loop."""

    def __init__(
        self, store: DeliveryStore, attempts: AttemptRunner, webhooks: WebhookSettings, liveness: LivenessSettings
    ) -> None:
        """Takes over `store` and `attempts`: `run` closes them."""
        self._store = store
        self._attempts = attempts
        self._webhooks = webhooks
        self._liveness = liveness
        self._in_progress: set[asyncio.Task[None]] = set()
        self._hosts: Counter[str] = Counter()
        """Number of deliveries in progress to each host."""
        self._clients: Counter[str] = Counter()
        """The same, of each client."""
        self._awake = asyncio.Event()
        self._is_stopping = False
        self._faults = FaultLog(logger, "no further deliveries for now")

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make a deliverer with connections to the store of the settings."""
        store = DeliveryStore.connect(settings)
        return cls(store, AttemptRunner.connect(settings, store), settings.webhooks, settings.liveness)

    async def run(self) -> None:
        """Return once it is stopped and the deliveries in progress are done."""
        heartbeat = asyncio.create_task(self._send_heartbeats())
        async with self._attempts:
            while not self._is_stopping:
                self._awake.clear()
                await self._claim_due()
                await self._sleep()
            await self._finish()
        heartbeat.cancel()
        await self._store.close()

    def wake(self) -> None:
        """Look for due deliveries now."""
        self._awake.set()

    def stop(self) -> None:
        """Claim no further deliveries."""
        self._is_stopping = True
        self._awake.set()

    async def _send_heartbeats(self) -> None:
        faults = FaultLog(logger, "no heartbeat")
        while True:
            pause_s = self._liveness.heartbeat_s
            try:
                await self._store.heartbeat(process_name())
                faults.succeeded()
            except RedisError as error:
                faults.failed(error)
                pause_s = min(pause_s, POLL_S)
            await asyncio.sleep(pause_s)

    async def _sleep(self) -> None:
        try:
            await asyncio.wait_for(self._awake.wait(), POLL_S)
        except TimeoutError:
            return  # look without a notification: one may be lost, or a retry due

    async def _claim_due(self) -> None:
        try:
            while not self._is_stopping and self._has_room:
                lease = await self._store.claim(self._full_hosts(), self._full_clients())
                self._faults.succeeded()
                if lease is None:
                    return
                self._start(lease)
        except RedisError as error:
            self._faults.failed(error)
        except Exception:
            logger.exception("could not claim a delivery")

    @property
    def _has_room(self) -> bool:
        return len(self._in_progress) < self._webhooks.webhook_concurrency and not self._attempts.is_behind

    def _full_hosts(self) -> list[str]:
        limit = self._webhooks.webhook_host_concurrency
        return [host for host, count in self._hosts.items() if count >= limit]

    def _full_clients(self) -> list[str]:
        """Clients that have their share of the deliveries in progress, so that some are left for others."""
        in_use, total = len(self._in_progress) + 1, self._webhooks.webhook_concurrency
        return [client for client, own in self._clients.items() if not is_within_share(own + 1, in_use, total)]

    def _start(self, lease: DeliveryLease) -> None:
        host, client = lease.webhook.host, lease.subject.client
        task = asyncio.create_task(self._attempts.run(lease))
        self._in_progress.add(task)
        self._hosts[host] += 1
        self._clients[client] += 1

        def on_done(task: asyncio.Task[None]) -> None:
            self._in_progress.discard(task)
            self._hosts -= Counter([host])
            self._clients -= Counter([client])
            self.wake()  # there is room for another delivery

        task.add_done_callback(on_done)

    async def _finish(self) -> None:
        """Wait for the deliveries in progress. After `drain_s` the others are canceled: they are due again when their
        leases end."""
        if self._in_progress:
            await asyncio.wait(self._in_progress, timeout=self._liveness.drain_s)
        for task in self._in_progress:
            task.cancel()
