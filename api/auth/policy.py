"""Whether this deployment requires API keys. Decided once, at start, when the address it listens on is known."""

from __future__ import annotations

import asyncio
import ipaddress

from redis.exceptions import RedisError

from shared.errors import ConfigurationError
from shared.settings import RedisSettings, Settings
from shared.store.api_keys import ApiKeyStore


def settle_access(settings: Settings, host: str) -> Settings:
    """The settings with `require_keys` decided: as set, or if unset, on unless `host` is a loopback address.

    Raises:
        ConfigurationError: other machines can reach `host`, `require_keys` is unset, and there are no keys.
    """
    if settings.http.require_keys is not None:
        return settings
    is_open = not is_loopback(host)
    if is_open and asyncio.run(_has_no_keys(settings.redis)):
        raise ConfigurationError(
            f"other machines may reach {host}, and there are no API keys: make one with `scripts/keys create NAME`, or"
            " set MASKQ_REQUIRE_KEYS=false if a gateway already authenticates"
        )
    return settings.replace(require_keys=is_open)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _has_no_keys(settings: RedisSettings) -> bool:
    """Whether the store has no keys. False if it does not answer: it may have some."""
    store = ApiKeyStore.connect(settings)
    try:
        return not await store.list()
    except RedisError:
        return False
    finally:
        await store.close()
