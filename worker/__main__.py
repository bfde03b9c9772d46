"""`python -m worker`: a worker with the model that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from shared.process import entry_point
from shared.settings import Settings
from worker.app import run_worker
from worker.service import WorkerService


def _start_service(
    settings: Settings, notify_worker: Callable[[], None], notify_webhooks: Callable[[str], None]
) -> WorkerService:
    from worker.build import start_service  # torch takes seconds to import: wrong settings must be reported before

    return start_service(settings, notify_worker, notify_webhooks)


if __name__ == "__main__":
    entry_point.run(lambda: run_worker(_start_service))
