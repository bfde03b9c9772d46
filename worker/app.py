"""The Celery application of a worker: `celery --app worker.app worker --pool threads`. `python -m worker` does that."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals

from shared.errors import ConfigurationError
from shared.queue import TASK, celery_app
from shared.registry import served_model
from shared.settings import load_settings
from worker.service import WorkerService

settings = load_settings()
app = celery_app(settings, served_model(settings).name)

_service: WorkerService | None = None

logger = logging.getLogger(__name__)


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)


@signals.worker_init.connect
def _start(**_: Any) -> None:
    """Load the model before the first message is taken: once a process, never in a task."""
    global _service
    try:
        _service = WorkerService.start(settings)
    except ConfigurationError as error:
        logger.critical("%s", error.detail)
        raise SystemExit(78) from None  # EX_CONFIG of sysexits.h: starting again will not help


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    """Told to stop: Celery waits for the jobs in hand, which is a promise only if no new ones are taken."""
    if _service is not None:
        _service.take_no_more()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    if _service is not None:
        _service.stop()


@app.task(name=TASK)
def look(job_id: str) -> None:
    """The doorbell rang for `job_id`. Whoever is free does whatever has waited longest, until nothing waits."""
    if _service is not None:
        _service.work_off()
