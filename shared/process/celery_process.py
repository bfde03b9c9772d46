"""Runs a service as a Celery worker process: a thread of Celery calls the service for each notification."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Protocol

from celery import Celery, signals

from shared.errors import ConfigurationError
from shared.process.entry_point import CONFIGURATION_STATUS
from shared.process.logs import set_up_logging
from shared.process.notifier import TASK, celery_app
from shared.process.redis_monitor import RedisMonitor
from shared.process.tracing import start_tracing
from shared.settings import Settings
from shared.store.rights import Process

_CELERY_CONSUMER = "celery.worker.consumer.consumer"
"""Logs a traceback when it loses Redis and an error for each attempt to reach it. `RedisMonitor` reports both."""
_CELERY_CONNECTION = "celery.worker.consumer.connection"
"""Logs each time that it is connected."""

_ALONE = ("--without-mingle", "--without-gossip", "--without-heartbeat")
"""Processes learn about each other from the store."""

logger = logging.getLogger(__name__)


class Service(Protocol):
    """The work of a process. One is made per process, before Celery receives the first notification."""

    def notified(self) -> object:
        """Do all work that is pending. Called for each notification, one after the other."""

    def drain(self) -> None:
        """Claim no further work. Called when the process is told to stop; Celery then waits for running calls."""

    def stop(self) -> None:
        """Clean up. Called after all calls of `notified` have returned."""


def run_service(settings: Settings, process: Process, queue: str, start: Callable[[], Service], *, name: str) -> int:
    """Run a service until the process is told to stop. Returns an exit status: 0 only if it was told to.

    Celery uses a thread, because neither CUDA nor JAX survives a fork. `name` identifies the process among those of its
    host, and in traces. The service starts when Redis is there: a server that cannot be used is then reported before
    minutes of loading a model, and a process that waits takes no memory of a GPU.

    Raises:
        ConfigurationError: the service cannot run with these settings, or Redis can no longer be used.
    """
    set_up_logging(settings.logging)
    logging.getLogger(_CELERY_CONSUMER).setLevel(logging.CRITICAL)
    logging.getLogger(_CELERY_CONNECTION).setLevel(logging.WARNING)
    start_tracing(settings.logging, f"maskq-{name}")
    monitor = RedisMonitor(settings.redis, process)
    monitor.wait()
    app = celery_app(settings.redis, queue)
    lifecycle = _Lifecycle(start)
    lifecycle.connect(app)
    pool = ["--pool", "threads", "--concurrency", "1"]
    try:
        with monitor.running(_end_process):
            app.worker_main(["--quiet", "worker", *pool, *_ALONE, "--hostname", f"{name}@%h", *sys.argv[1:]])
    except SystemExit:
        if lifecycle.refused:
            raise lifecycle.refused from None
        raise
    return lifecycle.exit_status


def _end_process() -> None:
    """Stop as an orchestrator would: jobs in flight are finished or released."""
    os.kill(os.getpid(), signal.SIGTERM)


class _Lifecycle:
    """Starts, drains and stops a service with the signals of Celery."""

    def __init__(self, start: Callable[[], Service]) -> None:
        self._start = start
        self._services: list[Service] = []
        self._worker: Any = None
        self._was_told = False
        self.refused: ConfigurationError | None = None
        """With which the service could not start. Celery ends then."""

    def connect(self, app: Celery) -> None:
        signals.setup_logging.connect(_keep_our_logging, weak=False)
        signals.worker_init.connect(self._on_init, weak=False)
        signals.worker_shutting_down.connect(self._on_shutting_down, weak=False)
        signals.worker_shutdown.connect(self._on_shutdown, weak=False)
        app.task(name=TASK)(self._on_notification)

    @property
    def exit_status(self) -> int:
        """Celery's own, which its command line does not pass on; but to be interrupted (Ctrl-C) is no error."""
        return 0 if self._was_told else int(getattr(self._worker, "exitcode", None) or 0)

    def _on_init(self, sender: Any, **_: Any) -> None:
        self._worker = sender
        try:
            self._services.append(self._start())
        except ConfigurationError as error:
            self.refused = error
            raise SystemExit(CONFIGURATION_STATUS) from None
        except Exception:
            logger.critical("the process could not start", exc_info=True)  # Celery would run on without a service
            raise SystemExit(os.EX_SOFTWARE) from None

    def _on_shutting_down(self, how: str, **_: Any) -> None:
        self._was_told = how == "Warm"
        for service in self._services:
            service.drain()

    def _on_shutdown(self, **_: Any) -> None:
        for service in self._services:
            service.stop()

    def _on_notification(self, job_id: str) -> None:
        for service in self._services:
            service.notified()


def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging as it is if its signal has a receiver."""
