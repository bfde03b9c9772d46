"""`python -m worker`: a worker with the model that the settings name."""

from __future__ import annotations

from shared.process import entry_point
from worker.app import run_worker
from worker.service import WorkerService

if __name__ == "__main__":
    entry_point.run(lambda: run_worker(WorkerService.start_with_checkpoint))
