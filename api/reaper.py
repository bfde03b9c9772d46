"""Reaps jobs whose deadline or lease has passed. The front end does this as well, since no worker may be alive."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from shared.process.periodic import PeriodicTask
from shared.settings import Settings
from shared.store.leases import LeaseStore


@contextmanager
def reaping(settings: Settings, model_ids: Collection[str]) -> Iterator[None]:
    """Reap in a thread, as often as a worker does. This costs Redis almost nothing if no job is overdue."""
    store = LeaseStore.connect(settings)

    def reap() -> None:
        for model_id in model_ids:
            store.reap(model_id)

    task = PeriodicTask("reaper", settings.liveness.heartbeat_s, reap)
    task.start()
    try:
        yield
    finally:
        task.stop()
        store.close()
