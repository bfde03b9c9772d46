"""Lets any number of requests wait for jobs to move, over one subscription to Redis."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from shared.store.submissions import SubmissionStore

_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class JobWatcher:
    """Hears of every change and wakes those who wait for that job."""

    def __init__(self, store: SubmissionStore) -> None:
        self._store = store
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job moves. Read the job inside the block, or a change may be missed."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

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
