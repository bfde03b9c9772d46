"""The Celery process around a worker's service. The service is an argument, so that a test can run one without a
model."""

from __future__ import annotations

from collections.abc import Callable

from shared.process.celery_process import run_service
from shared.process.environment import load_settings
from shared.process.notifier import WEBHOOK_QUEUE, Notifier, queue_name
from shared.registry import served_model
from shared.settings import Settings
from shared.store.image_store import ImageStore
from shared.store.rights import Process
from worker.periodic.recovery import recover_before_start
from worker.service import WorkerService

StartService = Callable[[Settings, Callable[[], None], Callable[[str], None]], WorkerService]
"""Starts a service from the settings, `notify_worker` and `notify_webhooks`. See `WorkerService`."""


def run_worker(start_service: StartService) -> int:
    """Run until the process is told to stop. Use one process per GPU. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or name a model that does not exist.
    """
    settings = load_settings()
    ImageStore.require_usable(settings.images)
    queue = queue_name(served_model(settings.model).name)
    notifier = Notifier(settings.redis)

    def notify_worker() -> None:
        notifier.notify(queue, "unnotified")

    def notify_webhooks(job_id: str) -> None:
        notifier.notify(WEBHOOK_QUEUE, job_id)

    def start() -> WorkerService:
        recover_before_start(settings)
        return start_service(settings, notify_worker, notify_webhooks)

    return run_service(settings, Process.WORKER, queue, start, name="worker")
