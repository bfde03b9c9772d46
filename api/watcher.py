"""Lets any number of requests wait for jobs to move, over one subscription to Redis."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import RedisError
from starlette.types import Receive

from shared.errors import MaskqError, ServerBusy
from shared.store.job_state import JobState
from shared.store.submissions import SubmissionStore

_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class JobWatcher:
    """Hears of every change and wakes those who wait for that job. Nobody asks Redis again and again."""

    def __init__(self, store: SubmissionStore, max_waiters: int) -> None:
        self._store = store
        self._max_waiters = max_waiters
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._waiters = 0
        self.is_closed = False
        """The process is about to end: nobody should wait any longer."""

    def __len__(self) -> int:
        """How many wait."""
        return self._waiters

    def require_room(self) -> None:
        """
        Raises:
            ServerBusy: as many wait as this process carries.
        """
        if self._waiters >= self._max_waiters:
            raise ServerBusy("too many clients are waiting here; ask again without waiting")

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job moves. Read the job inside the block, or a change may be missed.

        Raises:
            ServerBusy: as `require_room`.
        """
        self.require_room()
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        self._waiters += 1
        try:
            yield event
        finally:
            self._waiters -= 1
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def read_once(
        self, job_id: str, is_enough: Callable[[JobState], bool], max_s: float, receive: Receive
    ) -> JobState:
        """The job's state once it is one that will do, or as it is after `max_s` seconds, or when the client that
        is heard through `receive` has hung up.

        Raises:
            ServerBusy, JobNotFound, JobExpired: as `watching` and the store's `read`.
        """
        deadline = asyncio.get_running_loop().time() + max_s
        with self.watching(job_id) as moved, _set_at_hang_up(moved, receive) as listening:
            while not self.is_closed and not listening.done():
                moved.clear()
                state = await self._store.read(job_id)
                if is_enough(state):
                    return state
                try:
                    async with asyncio.timeout_at(deadline):
                        await moved.wait()
                except TimeoutError:
                    break
        return await self._store.read(job_id)

    def close(self) -> None:
        """Send everybody home."""
        self.is_closed = True
        self._wake(None)

    async def run(self) -> None:
        """Listen until canceled. While the server is away nobody is woken; when it is back everybody is."""
        while True:
            try:
                async for job_id in self._store.changes():
                    self._wake(job_id)
            except (RedisError, OSError) as error:
                logger.warning("not hearing of changes: %s", type(error).__name__)
            except Exception:
                logger.exception("not hearing of changes")
            await asyncio.sleep(_RETRY_S)

    def _wake(self, job_id: str | None) -> None:
        """Wake those who wait for this job; all, when listening began anew and changes may have been missed."""
        groups = list(self._waiting.values()) if job_id is None else [self._waiting.get(job_id, set())]
        for event in {event for group in groups for event in group}:
            event.set()


@contextmanager
def _set_at_hang_up(event: asyncio.Event, receive: Receive) -> Iterator[asyncio.Task[None]]:
    """Set the event when the client hangs up. Yields the task that listens: it is done by then."""

    async def listen() -> None:
        with suppress(MaskqError):  # a body that nobody reads is too long or too slow: that ends the wait, too
            while (await receive())["type"] != "http.disconnect":
                pass

    listening = asyncio.create_task(listen())
    listening.add_done_callback(lambda _: event.set())
    try:
        yield listening
    finally:
        listening.cancel()
