"""Runs a process of Celery's for us: its threads hear the notifier, and what they do when it rings is ours."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from celery import Celery, signals

from shared.errors import ConfigurationError
from shared.process.entry_point import CONFIGURATION_STATUS
from shared.process.logs import set_up_logging
from shared.process.notifier import TASK, celery_app
from shared.process.tracing import start_tracing
from shared.settings import Settings
from shared.store.durability import require_durable_server

logger = logging.getLogger(__name__)


class Workforce(Protocol):
    """What a process does. Made before the first message is taken, once a process."""

    def work_off(self) -> object:
        """The notifier rang: do what there is to do. Called from many threads."""

    def take_no_more(self) -> None:
        """Told to stop: Celery waits for what is in hand, which is a promise only if no more is taken."""

    def stop(self) -> None:
        """All threads have come back."""


def run_workforce(settings: Settings, queue: str, start: Callable[[], Workforce], *, name: str, threads: int) -> int:
    """Run until told to stop. Threads, because neither CUDA nor JAX survives a fork. `name` is what the process is
    called, among those of its host and in traces."""
    set_up_logging(settings.logging)
    app = celery_app(settings.redis, queue)
    _connect(app, settings, start, name)
    pool = ["--pool", "threads", "--concurrency", str(threads), "--without-mingle", "--without-gossip"]
    app.worker_main(["--quiet", "worker", *pool, "--hostname", f"{name}@%h", *sys.argv[1:]])
    return 0


def _connect(app: Celery, settings: Settings, start: Callable[[], Workforce], name: str) -> None:
    """Bind a workforce to the life of the process."""
    started: list[Workforce] = []

    def begin(**_: Any) -> None:
        try:
            require_durable_server(settings.redis)
            start_tracing(settings.logging, f"maskq-{name}")
            started.append(start())
        except ConfigurationError as error:
            logger.critical("%s", error.detail)
            raise SystemExit(CONFIGURATION_STATUS) from None
        except Exception:
            logger.critical("the process could not start", exc_info=True)  # Celery would go on without us
            raise SystemExit(os.EX_SOFTWARE) from None

    def drain(**_: Any) -> None:
        for each in started:
            each.take_no_more()

    def end(**_: Any) -> None:
        for each in started:
            each.stop()

    def look(job_id: str) -> None:
        for each in started:
            each.work_off()

    signals.setup_logging.connect(lambda **_: None, weak=False)  # it is: Celery need not
    signals.worker_init.connect(begin, weak=False)
    signals.worker_shutting_down.connect(drain, weak=False)
    signals.worker_shutdown.connect(end, weak=False)
    app.task(name=TASK)(look)
