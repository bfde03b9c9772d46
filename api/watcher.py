"""Lets many requests wait for changes of jobs, over one subscription to Redis."""

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
    """Receives every change of a job and wakes the requests that wait for this job. No request polls Redis."""

    def __init__(self, store: SubmissionStore, max_waiters: int) -> None:
        self._store = store
        self._max_waiters = max_waiters
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._waiters = 0
        self.is_closed = False
        """The process is about to stop: no request should wait any longer."""

    def __len__(self) -> int:
        """Number of waiting requests."""
        return self._waiters

    def require_room(self) -> None:
        """Check that one more request may wait.

        Raises:
            ServerBusy: `max_waiters` requests are waiting.
        """
        if self._waiters >= self._max_waiters:
            raise ServerBusy("too many clients are waiting here; try again without waiting")

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job changes. Read the job inside the block; otherwise a change may be missed.

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
        """Wait until `is_enough` accepts the job's state, for at most `max_s` seconds, or until the client behind
        `receive` disconnects. Returns the latest state.

        Raises:
            ServerBusy, JobNotFound, JobExpired: as `watching` and the store's `read`.
        """
        deadline = asyncio.get_running_loop().time() + max_s
        with self.watching(job_id) as changed, _set_on_disconnect(changed, receive) as listening:
            while not self.is_closed and not listening.done():
                changed.clear()
                state = await self._store.read(job_id)
                if is_enough(state):
                    return state
                try:
                    async with asyncio.timeout_at(deadline):
                        await changed.wait()
                except TimeoutError:
                    break
        return await self._store.read(job_id)

    def close(self) -> None:
        """Wake all waiting requests. They answer with the state they have."""
        self.is_closed = True
        self._wake(None)

    async def run(self) -> None:
        """Listen until canceled. While Redis is away no request is woken; when it is back all are."""
        while True:
            try:
                async for job_id in self._store.changes():
                    self._wake(job_id)
            except (RedisError, OSError) as error:
                logger.warning("no subscription to changes of jobs: %s", type(error).__name__)
            except Exception:
                logger.exception("no subscription to changes of jobs")
            await asyncio.sleep(_RETRY_S)

    def _wake(self, job_id: str | None) -> None:
        """Wake the requests that wait for this job. None: all, because listening began anew and changes may be lost."""
        groups = list(self._waiting.values()) if job_id is None else [self._waiting.get(job_id, set())]
        for event in {event for group in groups for event in group}:
            event.set()


@contextmanager
def _set_on_disconnect(event: asyncio.Event, receive: Receive) -> Iterator[asyncio.Task[None]]:
    """Set the event when the client disconnects. Yields the listening task, which is done by then."""

    async def listen() -> None:
        with suppress(MaskqError):  # the body is too long or too slow, which ends the wait as well
            while (await receive())["type"] != "http.disconnect":
                pass

    listening = asyncio.create_task(listen())
    listening.add_done_callback(lambda _: event.set())
    try:
        yield listening
    finally:
        listening.cancel()
