"""A worker as a process of Celery's: `python -m worker` runs it."""

from __future__ import annotations

from collections.abc import Callable

from shared.process.celery_process import run_workforce
from shared.process.notifier import WEBHOOK_QUEUE, Notifier, queue_name
from shared.registry import served_model
from shared.settings import Settings, load_settings
from worker.service import WorkerService

StartService = Callable[[Settings, Callable[[], None], Callable[[str], None]], WorkerService]


def run_worker(start_service: StartService) -> None:
    """Run until told to stop. One process a GPU."""
    settings = load_settings()
    queue = queue_name(served_model(settings).name)
    notifier = Notifier(settings)

    def start() -> WorkerService:
        return start_service(
            settings, lambda: notifier.notify(queue, "unheard"), lambda job_id: notifier.notify(WEBHOOK_QUEUE, job_id)
        )

    run_workforce(settings, queue, start, name="worker", threads=settings.worker_threads)
