"""`python -m worker.healthcheck`: exit status 0 if a worker of this host has sent a heartbeat within the liveness
window. For containers."""

from __future__ import annotations

from redis.exceptions import RedisError

from shared.process import entry_point
from shared.process.environment import load_settings
from shared.process.identity import is_any_here
from shared.registry import served_model
from shared.store.leases import LeaseStore
from shared.store.server_faults import require_healing


def main() -> int:
    """Check in the store, because a worker that cannot reach the store is not healthy. Returns an exit status."""
    settings = load_settings()
    store = LeaseStore.connect(settings)
    try:
        workers = store.live_workers(served_model(settings.model).name)
    except RedisError as error:
        require_healing(error, settings.redis)
        return 1
    finally:
        store.close()
    return 0 if is_any_here(workers) else 1


if __name__ == "__main__":
    entry_point.run(main)
