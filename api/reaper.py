"""The front end, too, moves on jobs whose deadline or lease has run out: no worker may be alive to do so."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from shared.process.periodic import PeriodicTask
from shared.settings import Settings
from shared.store.leases import LeaseStore


@contextmanager
def reaping(settings: Settings, model_ids: Collection[str]) -> Iterator[None]:
    """Reap in a thread as often as a worker does, which costs the server next to nothing where there is nothing."""
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
