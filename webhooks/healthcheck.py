"""`python -m webhooks.healthcheck`: status 0 if a deliverer on this host sent a heartbeat within the liveness window.

For containers.
"""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from shared.process import entry_point
from shared.process.environment import load_settings
from shared.process.identity import is_any_here
from shared.settings import Settings
from shared.store.deliveries import DeliveryStore
from shared.store.server_faults import require_healing


def main() -> int:
    """Check heartbeats in the store: a deliverer that cannot reach the store is not healthy. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or the server refuses REDIS_URL.
    """
    return 0 if asyncio.run(_is_healthy(load_settings())) else 1


async def _is_healthy(settings: Settings) -> bool:
    store = DeliveryStore.connect(settings)
    try:
        return is_any_here(await store.live_deliverers())
    except RedisError as error:
        require_healing(error, settings.redis)
        return False
    finally:
        await store.close()


if __name__ == "__main__":
    entry_point.run(main)
