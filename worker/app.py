"""The Celery application of a worker: its signals and its one task. `python -m worker` runs it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, signals

from shared.errors import ConfigurationError
from shared.queue import TASK, Doorbell, celery_app
from shared.registry import served_model
from shared.settings import Settings, load_settings
from shared.store.durability import require_durable_server
from shared.tracing import start_tracing
from worker.service import WorkerService

_EX_CONFIG = 78
"""sysexits.h: set up wrongly; starting again will not help."""

_EX_SOFTWARE = 70

StartService = Callable[[Settings, Callable[[], None]], WorkerService]

logger = logging.getLogger(__name__)


def run_worker(start_service: StartService) -> None:
    """Run until told to stop. Threads, because neither CUDA nor JAX survives a fork; one process a GPU."""
    settings = load_settings()
    app = celery_app(settings, served_model(settings).name)
    _connect(app, settings, start_service)
    pool = ["--pool", "threads", "--concurrency", str(settings.worker_threads)]
    app.worker_main(["--quiet", "worker", *pool, "--without-mingle", "--without-gossip", *sys.argv[1:]])


def _connect(app: Celery, settings: Settings, start_service: StartService) -> None:
    """Bind a service to the life of the worker: made before the first message is taken, once a process."""
    doorbell = Doorbell(settings, served_model(settings).name)
    services: list[WorkerService] = []

    def set_up_logging(**_: Any) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for noisy in ("httpx2", "celery.app.trace", "celery.worker.strategy"):
            logging.getLogger(noisy).setLevel(logging.WARNING)

    def start(**_: Any) -> None:
        try:
            require_durable_server(settings)
            start_tracing(settings, "maskq-worker")
            services.append(start_service(settings, lambda: doorbell.ring("unheard")))
        except ConfigurationError as error:
            logger.critical("%s", error.detail)
            raise SystemExit(_EX_CONFIG) from None
        except Exception:
            logger.critical("the worker could not start", exc_info=True)  # Celery would go on without us
            raise SystemExit(_EX_SOFTWARE) from None

    def drain(**_: Any) -> None:
        """Celery waits for the jobs in hand, which is a promise only if no new ones are taken."""
        for service in services:
            service.take_no_more()

    def stop(**_: Any) -> None:
        for service in services:
            service.stop()

    def look(job_id: str) -> None:
        """The doorbell rang. Whoever is free does whatever is next, until nothing waits."""
        for service in services:
            service.work_off()

    signals.setup_logging.connect(set_up_logging, weak=False)
    signals.worker_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(drain, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)
    app.task(name=TASK)(look)
