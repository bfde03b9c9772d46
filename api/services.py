"""The objects that the routes share: made once per process, stopped at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from anyio import CapacityLimiter

from api.reaper import reaping
from api.submission.fetch_image import ImageFetcher
from api.submission.intake import Intake
from api.watcher import JobWatcher
from shared.images.sandbox import DecodingPool
from shared.images.upload_check import UploadCheck
from shared.outbound import Outbound
from shared.process.notifier import Notifier
from shared.registry import ServedModel
from shared.settings import HttpSettings, Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.deliveries import DeliveryStore
from shared.store.submissions import SubmissionStore


@dataclass(frozen=True)
class Services:
    """One of each. All are safe to share between requests."""

    http: HttpSettings
    models: Mapping[str, ServedModel]
    """The models of this deployment by name. The first is the default."""
    store: SubmissionStore
    keys: ApiKeyStore
    notifier: Notifier
    watcher: JobWatcher
    intake: Intake
    deliveries: DeliveryStore
    decoders: DecodingPool
    drawing: CapacityLimiter
    """Bounds the threads that make pictures and documents of masks: each takes up to 100 MB at 25 MP."""

    @property
    def model(self) -> ServedModel:
        """The model of a job that names none."""
        return next(iter(self.models.values()))


@asynccontextmanager
async def running_services(settings: Settings, models: Mapping[str, ServedModel]) -> AsyncIterator[Services]:
    """Start the services, and stop them at the end. They connect to Redis when they first need it."""
    async with AsyncExitStack() as stack:
        deliveries = DeliveryStore.connect(settings)
        stack.push_async_callback(deliveries.close)
        store = SubmissionStore.connect(settings)
        stack.push_async_callback(store.close)
        keys = ApiKeyStore.connect(settings.redis)
        stack.push_async_callback(keys.close)
        notifier = Notifier(settings.redis)
        stack.callback(notifier.close)
        watcher = JobWatcher(store, settings.http.max_waiters)
        await stack.enter_async_context(_running(watcher))
        decoders = stack.enter_context(DecodingPool(settings.images))
        intake = await _intake(settings, list(models), UploadCheck(settings.images, decoders), stack)
        stack.enter_context(reaping(settings, models))
        drawing = CapacityLimiter(settings.images.decode_processes)
        yield Services(settings.http, models, store, keys, notifier, watcher, intake, deliveries, decoders, drawing)


async def _intake(settings: Settings, model_ids: list[str], images: UploadCheck, stack: AsyncExitStack) -> Intake:
    max_bytes = settings.submissions.max_image_bytes
    fetcher = await stack.enter_async_context(ImageFetcher(settings.outbound, max_bytes))
    receivers = await stack.enter_async_context(Outbound(settings.outbound, "webhook_url"))
    return Intake(model_ids, max_bytes, images, fetcher, receivers)


@asynccontextmanager
async def _running(watcher: JobWatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
