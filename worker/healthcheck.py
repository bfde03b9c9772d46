"""`python -m worker.healthcheck`: exit status 0 if a worker of this host has sent a heartbeat within the liveness
window. For containers.

While Redis cannot be used, a worker that has started counts as healthy as long as its process runs: it waits, and to
start it again would not bring Redis back, but load the model again.
"""

from __future__ import annotations

import sys

from redis.exceptions import RedisError

from shared.process import entry_point
from shared.process.environment import load_settings
from shared.process.identity import is_any_here
from shared.registry import served_model
from shared.store.leases import LeaseStore
from shared.store.server_faults import reason_of, require_healing
from worker.process_locks import ProcessLocks


def main() -> int:
    """Check in the store: a worker that cannot reach it at its start is not healthy. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or the server refuses REDIS_URL and no worker runs.
    """
    settings = load_settings()
    store = LeaseStore.connect(settings)
    try:
        workers = store.live_workers(served_model(settings.model).name)
    except RedisError as error:
        print(f"maskq: the store does not answer: {reason_of(error)}", file=sys.stderr)  # noqa: T201
        if is_any_here(ProcessLocks.of(settings).running()):
            return 0
        require_healing(error, settings.redis)
        return 1
    finally:
        store.close()
    return 0 if is_any_here(workers) else 1


if __name__ == "__main__":
    entry_point.run(main)
