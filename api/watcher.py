"""Lets many requests wait for changes of jobs, over one subscription to Redis."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress

from redis.exceptions import RedisError
from starlette.types import Receive

from api.auth.caller import Caller
from api.http.disconnect import until_disconnect
from api.shares import Shares
from shared.errors import StoreUnconfirmed
from shared.process.fault_log import FaultLog
from shared.store.job_state import JobState
from shared.store.submissions import SubmissionStore

_RETRY_S = 1.0
"""After an error of Redis."""
_WAKE_AT_ONCE = 50
_WAKE_EVERY_S = 0.02
"""If many requests wait for one job, this many are woken at a time, so that others are answered in between."""

logger = logging.getLogger(__name__)


class JobWatcher:
    """Receives every change of a job and wakes the requests that wait for this job. No request polls Redis."""

    def __init__(self, store: SubmissionStore, max_waiters: int) -> None:
        self._store = store
        self._places = Shares(max_waiters, "requests that wait for a job")
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._reads: dict[str, asyncio.Task[JobState]] = {}
        self._is_listening = False
        self.is_closed = False
        """The process is about to stop: no request should wait any longer."""

    def __len__(self) -> int:
        """Number of waiting requests."""
        return self._places.in_use

    def require_room(self, caller: Caller) -> None:
        """Check that one more request of this caller may wait.

        Raises:
            ServerBusy: `max_waiters` requests are waiting.
            ShareExceeded: the caller has its share of them.
        """
        with self._places.holding(caller.client, share=caller.share):
            pass

    @contextmanager
    def watching(self, job_id: str, caller: Caller) -> Iterator[asyncio.Event]:
        """An event that is set when the job changes. Read the job inside the block; otherwise a change may be missed.

        Raises:
            ServerBusy, ShareExceeded: as `require_room`.
        """
        with self._places.holding(caller.client, share=caller.share):
            event = asyncio.Event()
            self._waiting[job_id].add(event)
            try:
                yield event
            finally:
                self._waiting[job_id].discard(event)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    async def read(self, job_id: str) -> JobState:
        """The state of a job that one waits for. Requests that are woken together share one read.

        Raises:
            JobNotFound, JobExpired: as the store's `read`.
        """
        if job_id not in self._reads:
            reading = self._reads[job_id] = asyncio.create_task(self._store.read(job_id))
            reading.add_done_callback(lambda done: self._forget(job_id, done))
        return await asyncio.shield(self._reads[job_id])

    def _forget(self, job_id: str, reading: asyncio.Task[JobState]) -> None:
        if self._reads.get(job_id) is reading:
            del self._reads[job_id]
        if not reading.cancelled():
            reading.exception()  # all who wait for it may have gone

    async def read_once(
        self, job_id: str, caller: Caller, is_enough: Callable[[JobState], bool], max_s: float, receive: Receive
    ) -> JobState:
        """Wait until `is_enough` accepts the job's state, for at most `max_s` seconds, or until the client behind
        `receive` disconnects. Returns the latest state.

        Raises:
            ServerBusy, ShareExceeded, JobNotFound, JobExpired: as `watching` and `read`.
        """
        deadline = asyncio.get_running_loop().time() + max_s
        with self.watching(job_id, caller) as changed, _set_on_disconnect(changed, receive) as listening:
            while not self.is_closed and not listening.done():
                changed.clear()
                try:
                    async with asyncio.timeout_at(deadline):
                        state = await self.read(job_id)
                        if is_enough(state):
                            return state
                        await changed.wait()
                except (RedisError, StoreUnconfirmed):
                    self.set_again(changed)
                    await _until(changed, deadline)
                except TimeoutError:
                    break
        return await self.read(job_id)

    def set_again(self, changed: asyncio.Event) -> None:
        """Set the event of a request that could not read its job, once Redis may be used again. While nothing is heard
        from it the event is left alone: it is set with all others as soon as something is."""
        if self._is_listening:
            delay_s = _RETRY_S * random.uniform(1, 2)  # noqa: S311 - many requests fail together
            asyncio.get_running_loop().call_later(delay_s, changed.set)

    def close(self) -> None:
        """Wake all waiting requests. They answer with the state they have."""
        self.is_closed = True
        for event in {event for group in self._waiting.values() for event in group}:
            event.set()

    async def run(self) -> None:
        """Listen until canceled. While Redis is away no request is woken; when it is back all are."""
        faults = FaultLog(logger, "no subscription to changes of jobs")
        while True:
            try:
                async with aclosing(self._store.changes()) as changes:
                    async for job_id in changes:
                        self._is_listening = True
                        faults.succeeded()
                        self._wake(job_id)
            except (RedisError, OSError) as error:
                faults.failed(error)
            except Exception:
                logger.exception("no subscription to changes of jobs")
            self._is_listening = False
            await asyncio.sleep(_RETRY_S)

    def _wake(self, job_id: str | None) -> None:
        """Wake the requests that wait for this job. None: all, because listening began anew and changes may be lost."""
        for woken in list(self._waiting) if job_id is None else [job_id]:
            self._reads.pop(woken, None)  # a read that began before this change may not show it
        groups = list(self._waiting.values()) if job_id is None else [self._waiting.get(job_id, set())]
        loop = asyncio.get_running_loop()
        for number, event in enumerate({event for group in groups for event in group}):
            loop.call_later(number // _WAKE_AT_ONCE * _WAKE_EVERY_S, event.set)


async def _until(changed: asyncio.Event, deadline: float) -> None:
    """Return when the event is set, or at the deadline."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await changed.wait()


@contextmanager
def _set_on_disconnect(event: asyncio.Event, receive: Receive) -> Iterator[asyncio.Task[None]]:
    """Set the event when the client disconnects. Yields the listening task, which is done by then."""
    listening = asyncio.create_task(until_disconnect(receive))
    listening.add_done_callback(lambda _: event.set())
    try:
        yield listening
    finally:
        listening.cancel()
