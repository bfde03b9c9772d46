"""A worker as a process of Celery's: `python -m worker` runs it."""

from __future__ import annotations

from collections.abc import Callable

from shared.process.celery_process import run_service
from shared.process.environment import load_settings
from shared.process.notifier import WEBHOOK_QUEUE, Notifier, queue_name
from shared.registry import served_model
from shared.settings import Settings
from worker.service import WorkerService

StartService = Callable[[Settings, Callable[[], None], Callable[[str], None]], WorkerService]


def run_worker(start_service: StartService) -> int:
    """Run until told to stop. One process a GPU. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or name no model there is.
    """
    settings = load_settings()
    queue = queue_name(served_model(settings.model).name)
    notifier = Notifier(settings.redis)

    def start() -> WorkerService:
        return start_service(
            settings, lambda: notifier.notify(queue, "unheard"), lambda job_id: notifier.notify(WEBHOOK_QUEUE, job_id)
        )

    return run_service(settings, queue, start, name="worker", threads=settings.worker.worker_threads)
