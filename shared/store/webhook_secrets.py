"""The secrets that sign webhooks: one an owner, and for a while the one it replaced."""

from __future__ import annotations

import base64
import secrets
from typing import Self

from redis.asyncio import Redis

from shared.settings import Settings
from shared.store.connection import async_redis, script, text

_SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""


class WebhookSecretStore:
    """Async, safe to share between tasks. Every method returns the secrets that sign an owner's webhooks, `whsec_…`,
    newest first, and raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._rotation_s = settings.webhooks.webhook_rotation_s
        self._secrets = redis.register_script(script("webhook_secrets"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._redis.aclose()

    async def show(self, owner: str) -> list[str]:
        """As they are. An owner's first secret is made when it is first asked for."""
        return await self._run(owner, "show")

    async def rotate(self, owner: str) -> list[str]:
        """With a new one; the present one signs along for `webhook_rotation_s`."""
        return await self._run(owner, "rotate")

    async def replace(self, owner: str) -> list[str]:
        """Only a new one: those before it sign no more, because somebody else knows them."""
        return await self._run(owner, "replace")

    async def _run(self, owner: str, how: str) -> list[str]:
        found = await self._secrets(args=[owner, _new_secret(), how, self._rotation_s])
        return [text(each) for each in found]


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")
