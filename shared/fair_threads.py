"""Threads that clients share, for work that would block an event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from shared.domain.fair_share import is_within_share

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Waiter:
    client: str
    share: int
    turn: asyncio.Future[None]


class FairThreads:
    """A bounded number of threads. A client that uses its share of them waits, and a thread remains for the next
    client. A free thread goes to the waiting client that uses fewest. For one event loop."""

    def __init__(self, total: int, name: str) -> None:
        """`name` is that of the threads."""
        self._total = total
        self._threads = ThreadPoolExecutor(total, name)
        self._running: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []

    @property
    def waiting(self) -> int:
        """Number of calls that wait for their turn."""
        return len(self._waiting)

    def close(self) -> None:
        """Begin nothing more. Work that runs continues to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, client: str, work: Callable[[], _Result], share: int = 1) -> _Result:
        """Run `work` in a thread. A call that is canceled before its turn begins nothing; after that the thread stays
        in use until `work` returns."""
        await self._begin(client, share)
        return await self._in_thread(client, work)

    async def run_prepared(
        self, client: str, prepare: Callable[[], Awaitable[Callable[[], _Result]]], share: int = 1
    ) -> _Result:
        """As `run`, for the work that `prepare` returns. `prepare` runs on the event loop when it is this call's turn,
        so what it loads is in memory only as often as there are threads."""
        await self._begin(client, share)
        try:
            work = await prepare()
        except BaseException:
            self._end(client)
            raise
        return await self._in_thread(client, work)

    async def _begin(self, client: str, share: int) -> None:
        waiter = _Waiter(client, share, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._give_turns()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.cancelled():
                self._waiting = [each for each in self._waiting if each is not waiter]
            else:
                self._end(client)
            raise

    async def _in_thread(self, client: str, work: Callable[[], _Result]) -> _Result:
        loop = asyncio.get_running_loop()

        def on_done(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._end, client)

        future = self._threads.submit(work)
        future.add_done_callback(on_done)
        return await asyncio.wrap_future(future)

    def _end(self, client: str) -> None:
        self._running -= Counter([client])
        self._give_turns()

    def _give_turns(self) -> None:
        """Let those begin who may: first the client that uses fewest threads, then who waits longest."""
        self._waiting = [each for each in self._waiting if not each.turn.done()]  # canceled, and not yet told
        while allowed := [each for each in self._waiting if self._may_begin(each)]:
            chosen = min(allowed, key=lambda each: self._running[each.client])
            self._waiting.remove(chosen)
            self._running[chosen.client] += 1
            chosen.turn.set_result(None)

    def _may_begin(self, waiter: _Waiter) -> bool:
        in_use, used = self._running.total() + 1, self._running[waiter.client] + 1
        is_allowed = used == 1 or is_within_share(used, in_use, self._total, waiter.share)
        return in_use <= self._total and is_allowed
