"""The Celery application of the service: its signals and its one task. `python -m webhooks` runs it.

Celery listens for the doorbell in its own threads; the deliveries are tasks of one event loop in another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, signals

from shared.errors import ConfigurationError
from shared.queue import TASK, WEBHOOK_QUEUE, celery_app
from shared.settings import Settings, load_settings
from shared.store.durability import require_durable_server
from webhooks.deliverer import Deliverer

_EX_CONFIG = 78
"""sysexits.h: set up wrongly; starting again will not help."""

_EX_SOFTWARE = 70

logger = logging.getLogger(__name__)


def run_deliverer() -> None:
    """Run until told to stop."""
    settings = load_settings()
    app = celery_app(settings, WEBHOOK_QUEUE)
    _connect(app, settings)
    options = ["--pool", "threads", "--concurrency", "1", "--without-mingle", "--without-gossip"]
    app.worker_main(["--quiet", "worker", *options, "--hostname", "webhooks@%h", *sys.argv[1:]])


class DelivererThread:
    """A deliverer in an event loop in a thread, for callers in other threads."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._deliverer = Deliverer(settings)
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something may be due."""
        self._call(self._deliverer.wake)

    def take_no_more(self) -> None:
        """Told to stop."""
        self._call(self._deliverer.stop)

    def stop(self) -> None:
        """Return when all that was under way is done."""
        self.take_no_more()
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._deliverer.run())
        except Exception:
            logger.critical("no more webhooks can be delivered: ending the process", exc_info=True)
            os._exit(_EX_SOFTWARE)

    def _call(self, act: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)


def _connect(app: Celery, settings: Settings) -> None:
    """Bind a deliverer to the life of the process."""
    deliverers: list[DelivererThread] = []

    def set_up_logging(**_: Any) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for noisy in ("celery.app.trace", "celery.worker.strategy"):
            logging.getLogger(noisy).setLevel(logging.WARNING)

    def start(**_: Any) -> None:
        try:
            require_durable_server(settings)
        except ConfigurationError as error:
            logger.critical("%s", error.detail)
            raise SystemExit(_EX_CONFIG) from None
        deliverers.append(DelivererThread(settings))

    def drain(**_: Any) -> None:
        for deliverer in deliverers:
            deliverer.take_no_more()

    def stop(**_: Any) -> None:
        for deliverer in deliverers:
            deliverer.stop()

    def look(job_id: str) -> None:
        """The doorbell rang."""
        for deliverer in deliverers:
            deliverer.wake()

    signals.setup_logging.connect(set_up_logging, weak=False)
    signals.worker_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(drain, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)
    app.task(name=TASK)(look)
