"""The secrets that sign webhooks: one per owner, and for some time the one that it replaced."""

from __future__ import annotations

import base64
import secrets
from typing import Self

from redis.asyncio import Redis

from shared.settings import Settings
from shared.store.confirmation import AsyncConfirmer
from shared.store.connection import async_redis
from shared.store.lua_script import AsyncScript
from shared.store.records import text

_SECRET_BYTES = 32
"""Standard Webhooks requires 24 to 64."""


class WebhookSecretStore:
    """Async, safe to share between tasks. Every method returns the secrets that sign an owner's webhooks, `whsec_…`,
    newest first, and raises `redis.RedisError` if the server does not answer, and `StoreUnconfirmed` if a failover may
    forget them."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._confirmer = AsyncConfirmer(redis, settings.redis)
        self._rotation_s = settings.webhooks.webhook_rotation_s
        self._secrets = AsyncScript(redis, "webhook_secrets")

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._confirmer.close()
        await self._redis.aclose()

    async def show(self, owner: str) -> list[str]:
        """The present secrets. An owner's first secret is created when it is first requested."""
        return await self._run(owner, "show")

    async def rotate(self, owner: str) -> list[str]:
        """Create a new secret; the present one signs too for `webhook_rotation_s`."""
        return await self._run(owner, "rotate")

    async def replace(self, owner: str) -> list[str]:
        """Create a new secret that signs alone, because the earlier ones have leaked."""
        return await self._run(owner, "replace")

    async def _run(self, owner: str, action: str) -> list[str]:
        found = await self._secrets.confirmed(
            self._confirmer, owner=owner, fresh_secret=_new_secret(), action=action, rotation_s=self._rotation_s
        )
        return [text(each) for each in found["secrets"]]


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")
