"""`python -m webhooks.healthcheck`: status 0 if the store has heard of a deliverer on this host. For containers."""

from __future__ import annotations

import asyncio
import sys

from redis.exceptions import RedisError

from shared.process.environment import load_settings
from shared.process.identity import is_any_here
from shared.store.deliveries import DeliveryStore


async def main() -> int:
    """Ask the store, not the process: one that cannot reach the store is of no use."""
    store = DeliveryStore.connect(load_settings())
    try:
        deliverers = await store.live_deliverers()
    except RedisError:
        return 1
    finally:
        await store.close()
    return 0 if is_any_here(deliverers) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
