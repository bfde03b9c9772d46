"""Every way in which a process connects to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.process.notifier import WEBHOOK_QUEUE, Notifier, celery_app
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.connection import async_redis, sync_redis
from shared.store.leases import LeaseStore
from shared.store.submissions import SubmissionStore


def _sync(settings: Settings) -> None:
    with sync_redis(settings.redis) as redis:
        redis.ping()


def _async(settings: Settings) -> None:
    async def ping() -> None:
        async with async_redis(settings.redis) as redis:
            await redis.ping()

    asyncio.run(ping())


def _changes(settings: Settings) -> None:
    async def listen() -> None:
        store = SubmissionStore.connect(settings)
        try:
            assert await anext(aiter(store.changes())) is None
        finally:
            await store.close()

    asyncio.run(listen())


def _cancels(settings: Settings) -> None:
    store = LeaseStore.connect(settings)
    calls = iter([False, True])
    assert list(store.canceled(lambda: next(calls))) == []
    store.close()


def _keys(settings: Settings) -> None:
    async def read() -> None:
        store = ApiKeyStore.connect(settings.redis)
        try:
            assert await store.list() == []
        finally:
            await store.close()

    asyncio.run(read())


def _notification(settings: Settings) -> None:
    """Through Celery's transport, both ways. A notifier reports no error."""
    notifier = Notifier(settings.redis)
    notifier.notify(WEBHOOK_QUEUE, "job")
    notifier.close()
    app = celery_app(settings.redis, WEBHOOK_QUEUE)
    app.conf.broker_transport = notifier._app.conf.broker_transport  # that of consumers waits for a server
    with app.connection_for_read() as connection, connection.SimpleQueue(WEBHOOK_QUEUE) as queue:
        assert queue.get(timeout=5).headers["task"] == "maskq.look"


WAYS: dict[str, Callable[[Settings], None]] = {
    "sync": _sync,
    "async": _async,
    "subscription to changes": _changes,
    "subscription to cancels": _cancels,
    "API keys": _keys,
    "notification": _notification,
}
