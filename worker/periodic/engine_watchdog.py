"""Ends the process if the engine makes no progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Protocol

logger = logging.getLogger(__name__)


class WatchedEngine(Protocol):
    """What a worker's service reads from an engine. `worker.engine.engine.Engine` is the real one."""

    @property
    def stuck_s(self) -> float:
        """Seconds without progress, or 0 if the engine has no work."""

    def stats(self) -> Mapping[str, float]:
        """Statistics by name, as in `Engine.stats`."""


class EngineWatchdog:
    """Watches one engine."""

    def __init__(self, engine: WatchedEngine, max_stuck_s: float) -> None:
        self._engine = engine
        self._max_stuck_s = max_stuck_s

    def check(self) -> None:
        """End the process if the engine is stuck: a thread cannot be interrupted, a process can. A supervisor restarts
        it, and other workers get its jobs. A periodic task."""
        if self._engine.stuck_s > self._max_stuck_s:
            logger.critical("the engine has made no progress for %.0f s: ending the process", self._engine.stuck_s)
            os._exit(os.EX_SOFTWARE)
