"""Submits jobs as a front end does, so that always as many are in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle

from redis.asyncio import Redis

from shared.process.notifier import Notifier, queue_name
from shared.settings import Settings
from shared.store import key_names
from shared.store.records import text
from shared.store.submissions import SubmissionStore
from testing.factories import job_request, new_job

MODEL = "demo"
_LOOK_S = 0.004


class Feeder:
    """Keeps jobs with these images in flight, queued or running."""

    def __init__(self, settings: Settings, files: list[bytes], in_flight: int) -> None:
        self._store = SubmissionStore.connect(settings)
        self._redis = Redis.from_url(settings.redis.redis_url)
        self._notifier = Notifier(settings.redis)
        self._files: Iterator[bytes] = cycle(files)
        self._in_flight = in_flight

    async def close(self) -> None:
        await self._store.close()
        await self._redis.aclose()
        self._notifier.close()

    async def feed(self, seconds: float) -> None:
        """Submit whatever is missing, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            missing = self._in_flight - await self._unfinished()
            await asyncio.gather(*(self._submit() for _ in range(missing)))
            await asyncio.sleep(_LOOK_S)

    async def drain(self) -> None:
        """Return when no job is in flight."""
        while await self._unfinished():  # noqa: ASYNC110  another process's doing
            await asyncio.sleep(_LOOK_S)

    async def wait_for_worker(self) -> None:
        """Return when a worker is alive."""
        while not await self._store.live_workers(MODEL):  # noqa: ASYNC110  likewise
            await asyncio.sleep(0.05)

    async def ended(self) -> dict[str, int]:
        """Number of jobs so far by how they ended."""
        counts = await self._redis.hgetall(key_names.counts(MODEL))
        return {text(name): int(number) for name, number in counts.items()}

    async def _unfinished(self) -> int:
        async with self._redis.pipeline(transaction=False) as batch:
            for key in (key_names.ready, key_names.quarantine, key_names.running):
                batch.zcard(key(MODEL))
            return sum(await batch.execute())

    async def _submit(self) -> None:
        request = job_request(prompt="segment red circle")
        state = await self._store.submit(new_job(request=request, image=next(self._files)))
        if state.wakes_worker:
            await asyncio.to_thread(self._notifier.notify, queue_name(MODEL), state.job.id)
