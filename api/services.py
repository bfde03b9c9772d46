"""The objects that the routes share: made once per process, stopped at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from api.drawing.renderings import RenderingCache, Renderings
from api.reaper import reaping
from api.shares import Shares
from api.submission.fetch_image import ImageFetcher
from api.submission.intake import Intake
from api.watcher import JobWatcher
from shared.fair_threads import FairThreads
from shared.images.sandbox import DecodingPool
from shared.images.upload_check import UploadCheck
from shared.outbound import Outbound
from shared.process.notifier import Notifier
from shared.registry import ServedModel
from shared.settings import HttpSettings, Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.batches import BatchStore
from shared.store.deliveries import DeliveryStore
from shared.store.submissions import SubmissionStore

_INTAKE_THREADS = 4
"""Threads that decode and check submissions. They run Python most of the time, so more would not make it faster."""
_DATASETS = 16
"""Each keeps one job's part of the document in memory, however slowly its client reads."""


@dataclass(frozen=True)
class Services:
    """One of each. All are safe to share between requests."""

    settings: Settings
    models: Mapping[str, ServedModel]
    """The models of this deployment by name. The first is the default."""
    store: SubmissionStore
    batches: BatchStore
    keys: ApiKeyStore
    notifier: Notifier
    watcher: JobWatcher
    intake: Intake
    deliveries: DeliveryStore
    decoders: DecodingPool
    overlays: Renderings
    documents: Renderings
    """Masks and documents, which take no decoder and do not wait for overlays."""
    datasets: Shares = field(default_factory=lambda: Shares(_DATASETS, "data sets being sent"))
    """Documents of many jobs that are being sent."""

    @property
    def http(self) -> HttpSettings:
        """The settings of HTTP."""
        return self.settings.http

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
        batches = BatchStore.connect(settings)
        stack.push_async_callback(batches.close)
        keys = ApiKeyStore.connect(settings.redis)
        stack.push_async_callback(keys.close)
        notifier = Notifier(settings.redis)
        stack.callback(notifier.close)
        watcher = JobWatcher(store, settings.http.max_waiters)
        await stack.enter_async_context(_running(watcher))
        decoders = stack.enter_context(DecodingPool(settings.images))
        intake = await _intake(settings, list(models), UploadCheck(settings.images, decoders), stack)
        stack.enter_context(reaping(settings, models))
        overlays, documents = _renderings(settings, stack)
        yield Services(
            settings, models, store, batches, keys, notifier, watcher, intake, deliveries, decoders, overlays, documents
        )


def _renderings(settings: Settings, stack: AsyncExitStack) -> tuple[Renderings, Renderings]:
    """Overlays; masks and documents. A thread that makes one takes up to 230 MB at 65 MP."""
    cache = RenderingCache(settings.submissions.drawing_cache_bytes)
    both = [Renderings(settings.images.decode_processes, name, cache) for name in ("overlays", "masks")]
    for renderings in both:
        stack.callback(renderings.close)
    return both[0], both[1]


async def _intake(settings: Settings, model_ids: list[str], images: UploadCheck, stack: AsyncExitStack) -> Intake:
    limits = settings.submissions
    fetcher = await stack.enter_async_context(ImageFetcher(settings.outbound, limits, settings.redis.ca_file))
    receivers = await stack.enter_async_context(Outbound(settings.outbound, "webhook_url"))
    threads = FairThreads(_INTAKE_THREADS, "intake")
    stack.callback(threads.close)
    return Intake(model_ids, limits, images, fetcher, receivers, threads)


@asynccontextmanager
async def _running(watcher: JobWatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
