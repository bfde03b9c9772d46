"""Runs a service as a Celery worker process: Celery's threads call the service for each notification."""

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


class Service(Protocol):
    """The work of a process. One is made per process, before Celery receives the first notification."""

    def run_pending(self) -> object:
        """Do all work that is pending. Called for each notification, from many threads."""

    def drain(self) -> None:
        """Claim no further work. Called when the process is told to stop; Celery then waits for running calls."""

    def stop(self) -> None:
        """Clean up. Called after all calls of `run_pending` have returned."""


def run_service(settings: Settings, queue: str, start: Callable[[], Service], *, name: str, threads: int) -> int:
    """Run a service until the process is told to stop. Returns an exit status.

    Celery uses threads, because neither CUDA nor JAX survives a fork. `name` identifies the process among those of its
    host, and in traces.
    """
    set_up_logging(settings.logging)
    app = celery_app(settings.redis, queue)
    _connect(app, settings, start, name)
    pool = ["--pool", "threads", "--concurrency", str(threads), "--without-mingle", "--without-gossip"]
    app.worker_main(["--quiet", "worker", *pool, "--hostname", f"{name}@%h", *sys.argv[1:]])
    return 0


def _connect(app: Celery, settings: Settings, start: Callable[[], Service], name: str) -> None:
    """Start, drain and stop a service with the signals of Celery."""
    started: list[Service] = []

    def on_init(**_: Any) -> None:
        try:
            require_durable_server(settings.redis)
            start_tracing(settings.logging, f"maskq-{name}")
            started.append(start())
        except ConfigurationError as error:
            logger.critical("%s", error.detail)
            raise SystemExit(CONFIGURATION_STATUS) from None
        except Exception:
            logger.critical("the process could not start", exc_info=True)  # Celery would run on without a service
            raise SystemExit(os.EX_SOFTWARE) from None

    def on_shutting_down(**_: Any) -> None:
        for service in started:
            service.drain()

    def on_shutdown(**_: Any) -> None:
        for service in started:
            service.stop()

    def on_notification(job_id: str) -> None:
        for service in started:
            service.run_pending()

    signals.setup_logging.connect(lambda **_: None, weak=False)  # a receiver keeps Celery from changing our logging
    signals.worker_init.connect(on_init, weak=False)
    signals.worker_shutting_down.connect(on_shutting_down, weak=False)
    signals.worker_shutdown.connect(on_shutdown, weak=False)
    app.task(name=TASK)(on_notification)
