"""Pictures and documents made of results: made once for all who ask at the same time, kept a while, bounded."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api.shares import Shares
from shared.fair_threads import FairThreads

Key = tuple[str, str]
"""The id of a job, and the name of what is made of its result. The result of a job never changes."""
Work = Callable[[], bytes]
_WAITING_PER_THREAD = 16
"""Requests that may wait or be worked on, per thread. Each keeps the result of its job in memory."""
MAX_AGE_S = 600.0
"""How long a rendering is kept. Short: an overlay shows an image, which may be removed meanwhile."""


class RenderingCache:
    """The renderings that were used last, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()
        self.size = 0
        """Bytes that are kept."""

    def get(self, key: Key) -> bytes | None:
        """The rendering, if it is kept and young enough."""
        made_at, rendering = self._kept.get(key, (0.0, b""))
        if not rendering:
            return None
        if time.monotonic() - made_at > MAX_AGE_S:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return rendering

    def put(self, key: Key, rendering: bytes) -> None:
        """Keep a rendering, and drop those that were not used for longest."""
        if key in self._kept:
            self._drop(key)
        self._kept[key] = time.monotonic(), rendering
        self.size += len(rendering)
        while self.size > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        self.size -= len(self._kept.pop(key)[1])


@dataclass
class _Making:
    """A rendering in the making, and the number of requests that wait for it."""

    task: asyncio.Task[bytes]
    waiters: int = 0


class Renderings:
    """Makes renderings in threads that clients share. For one event loop."""

    def __init__(self, threads: int, name: str, cache: RenderingCache) -> None:
        """`name` says what is made, in the plural: "overlays"."""
        self._threads = FairThreads(threads, name)
        self._requests = Shares(threads * _WAITING_PER_THREAD, f"{name} being made")
        self._cache = cache
        self._making: dict[Key, _Making] = {}

    @property
    def waiting(self) -> int:
        """Number of renderings that wait for their turn."""
        return self._threads.waiting

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.close()

    async def get(self, key: Key, client: str, share: int, prepare: Callable[[], Awaitable[Work]]) -> bytes:
        """The rendering `key`: from the cache, or made by the work that `prepare` returns, which runs in a thread.
        Nothing is begun if the call is canceled before the client's turn.

        Raises:
            ServerBusy, ShareExceeded: too many requests wait for renderings; and what `prepare` and its work raise.
        """
        if kept := self._cache.get(key):
            return kept
        with self._requests.holding(client, share=share):
            making = self._making.get(key) or self._start(key, client, share, prepare)
            making.waiters += 1
            try:
                return await asyncio.shield(making.task)
            finally:
                making.waiters -= 1
                if not making.waiters:
                    self._stop(key, making)

    async def make(self, client: str, share: int, prepare: Callable[[], Awaitable[Work]]) -> bytes:
        """As `get`, for what is asked for once: it is not kept. Whoever calls it bounds the number of its calls."""
        return await self._threads.run_prepared(client, prepare, share)

    def _start(self, key: Key, client: str, share: int, prepare: Callable[[], Awaitable[Work]]) -> _Making:
        task = asyncio.create_task(self._make(key, client, share, prepare))
        making = self._making[key] = _Making(task)
        return making

    def _stop(self, key: Key, making: _Making) -> None:
        making.task.cancel()  # no effect if it is done
        if self._making.get(key) is making:
            del self._making[key]

    async def _make(self, key: Key, client: str, share: int, prepare: Callable[[], Awaitable[Work]]) -> bytes:
        rendering = await self._threads.run_prepared(client, prepare, share)
        self._cache.put(key, rendering)
        return rendering
