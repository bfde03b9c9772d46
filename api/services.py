"""What the front end's routes work with, made once per process and handed to them by FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.reaper import reaping
from api.submission.fetch_image import ImageFetcher
from api.submission.intake import Intake
from api.watcher import JobWatcher
from shared.images.sandbox import DecodingPool
from shared.outbound import Outbound
from shared.process.notifier import Notifier
from shared.registry import ServedModel
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.deliveries import DeliveryStore
from shared.store.submissions import SubmissionStore


@dataclass(frozen=True)
class Services:
    """One of each. All are safe to share between requests."""

    settings: Settings
    models: Mapping[str, ServedModel]
    """By name; the first is the default."""
    store: SubmissionStore
    keys: ApiKeyStore
    notifier: Notifier
    watcher: JobWatcher
    intake: Intake
    deliveries: DeliveryStore
    decoders: DecodingPool
    drawing: CapacityLimiter
    """For threads that make pictures and documents of masks: 100 MB each at 25 MP, so not for all requests at once."""

    @property
    def model(self) -> ServedModel:
        """What a job is for unless it says otherwise."""
        return next(iter(self.models.values()))


@asynccontextmanager
async def running_services(settings: Settings, models: Mapping[str, ServedModel]) -> AsyncIterator[Services]:
    """Start them, and stop them at the end. Redis need not be there yet: it is connected to when it is needed."""
    store = SubmissionStore.connect(settings)
    keys = ApiKeyStore.connect(settings.redis)
    deliveries = DeliveryStore.connect(settings)
    watcher = JobWatcher(store, settings.http.max_waiters)
    notifier = Notifier(settings.redis)
    watching = asyncio.create_task(watcher.run())
    try:
        async with ImageFetcher(settings) as fetcher, Outbound(settings.outbound, "webhook_url") as receivers:
            intake = Intake(settings, list(models), fetcher, receivers)
            with DecodingPool(settings.images) as decoders, reaping(settings, models):
                drawing = CapacityLimiter(settings.images.decode_processes)
                yield Services(settings, models, store, keys, notifier, watcher, intake, deliveries, decoders, drawing)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        notifier.close()
        await keys.close()
        await store.close()
        await deliveries.close()


async def _services(request: Request) -> Services:  # FastAPI calls what is not async in a thread
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
