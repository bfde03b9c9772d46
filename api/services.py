"""What the front end's routes work with, made once per process and handed to them by FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.fetch import ImageFetcher
from api.intake import Intake
from api.watch import JobWatcher
from shared.queue import Doorbell
from shared.registry import ServedModel
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.submissions import SubmissionStore


@dataclass(frozen=True)
class Services:
    """One of each. All are safe to share between requests."""

    settings: Settings
    model: ServedModel
    store: SubmissionStore
    keys: ApiKeyStore
    doorbell: Doorbell
    watcher: JobWatcher
    intake: Intake


@asynccontextmanager
async def running_services(settings: Settings, model: ServedModel) -> AsyncIterator[Services]:
    """Start them, and stop them at the end. Redis need not be there yet: it is connected to when it is needed."""
    store = SubmissionStore.connect(settings)
    keys = ApiKeyStore.connect(settings)
    watcher = JobWatcher(store, settings.max_waiters)
    doorbell = Doorbell(settings, model.name)
    watching = asyncio.create_task(watcher.run())
    try:
        async with ImageFetcher(settings) as fetcher:
            yield Services(settings, model, store, keys, doorbell, watcher, Intake(settings, model.name, fetcher))
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        doorbell.close()
        await keys.close()
        await store.close()


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
