"""Says at regular times that this worker lives."""

from __future__ import annotations

import logging
import os
import socket
import threading

from redis.exceptions import RedisError

from shared.store.leases import LeaseStore

logger = logging.getLogger(__name__)


def worker_id() -> str:
    """What this process is called among the workers: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Heartbeat:
    """A thread that beats until stopped. A beat that fails is logged; the next one makes up for it."""

    def __init__(self, store: LeaseStore, model_id: str, period_s: float) -> None:
        self._store = store
        self._model_id = model_id
        self._period_s = period_s
        self._worker_id = worker_id()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop beating, and take leave so that nobody waits for the next beat."""
        self._stopped.set()
        self._thread.join()
        try:
            self._store.depart(self._model_id, self._worker_id)
        except RedisError as error:
            logger.warning("could not take leave: %s", type(error).__name__)

    def _loop(self) -> None:
        while True:
            try:
                self._store.beat(self._model_id, self._worker_id)
            except RedisError as error:
                logger.warning("a heartbeat was not heard: %s", type(error).__name__)
            if self._stopped.wait(self._period_s):
                return
