"""A real worker with a script instead of a model: see `testing.scripted_pipeline`.

    python -m testing.scripted_worker

Everything else is the real service: Celery, the store, leases, periodic tasks, job processes. So tests can check the
results of clients without a model, and the worker starts within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.process import entry_point
from shared.registry import served_model
from shared.settings import Settings
from worker.app import run_worker
from worker.job_processes.connection import own_command
from worker.job_processes.processes import in_processes
from worker.service import WorkerService


class IdleEngine:
    """Stands in for an engine, which the script does not need. Never stuck."""

    stuck_s = 0.0

    def stats(self) -> Mapping[str, float]:
        """No statistics."""
        return {}


class UnaskedModel:
    """Stands in for a model that nobody asks."""

    side = 1

    def start(self, *_: Any) -> Any:
        """Nobody calls this."""
        raise NotImplementedError

    start_masks = read = start

    def close(self) -> None:
        """Nothing to close."""


def start_scripted(
    settings: Settings, notify_worker: Callable[[], None], notify_webhooks: Callable[[str], None]
) -> WorkerService:
    """Start a worker's service with a script instead of a model. Arguments as in `WorkerService`."""
    jobs = in_processes(UnaskedModel(), settings, command=own_command("testing.scripted_job_process"))
    name = served_model(settings.model).name
    service = WorkerService.connect(settings, name, jobs, IdleEngine(), notify_worker, notify_webhooks)
    service.start()
    return service


if __name__ == "__main__":
    entry_point.run(lambda: run_worker(start_scripted))
