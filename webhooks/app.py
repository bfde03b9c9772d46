"""The deliverer of webhooks as a Celery process: `python -m webhooks` runs it.

Celery receives notifications in its own threads; the deliveries are tasks of one event loop in another thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from functools import partial

from shared.process.celery_process import run_service
from shared.process.environment import load_settings
from shared.process.notifier import WEBHOOK_QUEUE
from shared.settings import Settings
from shared.store.rights import Process
from webhooks.deliverer import Deliverer

logger = logging.getLogger(__name__)


def run_deliverer() -> int:
    """Run until told to stop. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    settings = load_settings()
    start = partial(DelivererThread, settings)
    return run_service(settings, Process.DELIVERER, WEBHOOK_QUEUE, start, name="webhooks")


class DelivererThread:
    """A `Deliverer` in an event loop in a thread of its own. The methods are called from other threads."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._deliverer = Deliverer.connect(settings)
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)
        self._thread.start()

    def notified(self) -> None:
        """Start the deliveries that are due. Does not wait for them."""
        self._call(self._deliverer.wake)

    def drain(self) -> None:
        """Claim no further deliveries."""
        self._call(self._deliverer.stop)

    def stop(self) -> None:
        """Drain, and return when the deliveries in progress are done."""
        self.drain()
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._deliverer.run())
        except Exception:
            logger.critical("the deliverer failed: ending the process", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    def _call(self, method: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(method)
