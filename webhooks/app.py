"""The service as a process of Celery's: `python -m webhooks` runs it.

Celery listens for the notifier in its own threads; the deliveries are tasks of one event loop in another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable

from shared.process.celery_process import run_service
from shared.process.environment import load_settings
from shared.process.notifier import WEBHOOK_QUEUE
from shared.settings import Settings
from webhooks.deliverer import Deliverer

logger = logging.getLogger(__name__)


def run_deliverer() -> int:
    """Run until told to stop. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    settings = load_settings()
    return run_service(settings, WEBHOOK_QUEUE, lambda: DelivererThread(settings), name="webhooks", threads=1)


class DelivererThread:
    """A deliverer in an event loop in a thread, for callers in other threads."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._deliverer = Deliverer(settings)
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)
        self._thread.start()

    def run_pending(self) -> None:
        """Something may be due."""
        self._call(self._deliverer.wake)

    def drain(self) -> None:
        """Told to stop."""
        self._call(self._deliverer.stop)

    def stop(self) -> None:
        """Return when all that was under way is done."""
        self.drain()
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._deliverer.run())
        except Exception:
            logger.critical("no more webhooks can be delivered: ending the process", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    def _call(self, act: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)
