"""Whether this deployment asks for API keys: settled once, at start, when it is known where it listens."""

from __future__ import annotations

import asyncio
import ipaddress

from redis.exceptions import RedisError

from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore


def settle_access(settings: Settings, host: str) -> Settings:
    """The settings with `require_keys` settled: as set, or else on unless `host` is this machine alone.

    Raises:
        ConfigurationError: others can reach us, nobody has said that keys are not needed, and there are none.
    """
    if settings.http.require_keys is not None:
        return settings
    is_open = not _is_loopback(host)
    if is_open and asyncio.run(_has_no_keys(settings)):
        raise ConfigurationError(
            f"others may reach {host}, and there are no API keys: make one with `scripts/keys create NAME`, or say that"
            " something else decides who may call, with MASKQ_REQUIRE_KEYS=false"
        )
    return settings.replace(require_keys=is_open)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _has_no_keys(settings: Settings) -> bool:
    """Whether the store says so; one that cannot be reached now may have some."""
    store = ApiKeyStore.connect(settings.redis)
    try:
        return not await store.list()
    except RedisError:
        return False
    finally:
        await store.close()
