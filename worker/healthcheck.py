"""`python -m worker.healthcheck`: status 0 if the store has heard of a worker on this host lately. For containers."""

from __future__ import annotations

from redis.exceptions import RedisError

from shared.process import entry_point
from shared.process.environment import load_settings
from shared.process.identity import is_any_here
from shared.registry import served_model
from shared.store.leases import LeaseStore


def main() -> int:
    """Ask the store, not the process: a worker that cannot reach the store is of no use."""
    settings = load_settings()
    store = LeaseStore.connect(settings)
    try:
        workers = store.live_workers(served_model(settings.model).name)
    except RedisError:
        return 1
    finally:
        store.close()
    return 0 if is_any_here(workers) else 1


if __name__ == "__main__":
    entry_point.run(main)
