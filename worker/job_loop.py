"""The job loop: claim jobs and start each, until no job is left and none has come for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from shared.errors import StoreUnavailable
from shared.store.leases import LeaseStore
from worker.claims import Claim, Claims, Looked

_WAIT_S = 0.5
"""How long to wait for the end of a job, or for a store that does not respond."""

logger = logging.getLogger(__name__)


class JobLoop:
    """Looks for jobs on one thread at a time, and starts them.

    A worker is awake while it looks. Then it needs no notification: it waits for jobs at the store. When none has come
    for a while it falls asleep, and the next job that is submitted must notify it.
    """

    def __init__(
        self,
        store: LeaseStore,
        claims: Claims,
        start: Callable[[Claim], None],
        model_id: str,
        worker_id: str,
    ) -> None:
        """`start` starts a claimed job, and returns at once."""
        self._store = store
        self._claims = claims
        self._start = start
        self._model_id = model_id
        self._worker_id = worker_id
        self.is_awake = False

    def run_until_empty(self) -> int:
        """Run jobs until none is left for this worker, or the store does not respond. Returns the number of jobs."""
        done = 0
        while (found := self._look()) and (found.claims or (found.is_blocked and len(self._claims))):
            done += len(found.claims)
            if found.is_blocked:
                self._claims.wait_for_end(_WAIT_S)
        self._claims.wait_until_empty()
        return done

    def stay_awake(self, quiet_s: float) -> None:
        """Run jobs until none has come for `quiet_s` and none is in flight, or the worker is told to stop."""
        self.is_awake = True
        try:
            found_at = time.monotonic()
            while not self._claims.is_closed:
                if self._look_and_wait():
                    found_at = time.monotonic()
                elif time.monotonic() - found_at >= quiet_s and not len(self._claims) and self._falls_asleep():
                    return
        finally:
            self._claims.wait_until_empty()
            self.is_awake = False

    def _look_and_wait(self) -> bool:
        """Start the jobs that this worker may have now. If there are no more, wait until it may have another. Returns
        whether it started any."""
        found = self._look()
        if found is None:
            time.sleep(_WAIT_S)
            return False
        if found.is_blocked:
            self._claims.wait_for_end(_WAIT_S)
        elif found.is_last:
            self._wait_for_jobs()
        return bool(found.claims)

    def _look(self) -> Looked | None:
        """Claim jobs and start them. None if the store does not respond."""
        try:
            found = self._claims.claim()
        except (RedisError, StoreUnavailable) as error:
            logger.warning("no more jobs for now, the store does not respond: %s", type(error).__name__)
            return None
        for claim in found.claims:
            self._start(claim)
        return found

    def _wait_for_jobs(self) -> None:
        try:
            self._store.wait_for_jobs(self._model_id)
        except RedisError:
            time.sleep(_WAIT_S)  # the next look logs it

    def _falls_asleep(self) -> bool:
        try:
            return self._store.fall_asleep(self._model_id, self._worker_id)
        except RedisError:
            return False  # the next look logs it
