"""API keys in Redis: created and revoked by the operator, looked up with every request."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self, cast

from redis.asyncio import Redis

from shared.domain.api_key import ApiKey, Charge, RequestKind, Scope, fingerprint, new_key_id, new_secret
from shared.settings import RedisSettings
from shared.store import key_names
from shared.store.confirmation import AsyncConfirmer
from shared.store.connection import async_redis
from shared.store.lua_script import AsyncScript
from shared.store.records import text

_LINK_SECRET_BYTES = 32
"""As many as HMAC-SHA256 uses."""


@dataclass(frozen=True)
class Admission:
    """The API key of a request, and its rate limit after this request."""

    key: ApiKey
    kind: RequestKind
    is_within_rate: bool
    remaining: int
    """Requests of this kind that may be sent at once after this one."""
    retry_after_s: float
    """Seconds until the next request may be sent; 0 if this one is within the rate."""
    refilled_s: float
    """Seconds until the whole burst may be sent again."""

    @property
    def quota(self) -> int:
        """Requests of this kind that may be sent at once after a pause."""
        return self.key.burst * self.kind.times

    @property
    def window_s(self) -> int:
        """Seconds in which a burst that is used up is refilled, rounded up."""
        return math.ceil(60 * self.key.burst / self.key.per_minute)


class ApiKeyStore:
    """Async, safe to share between requests. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        self._redis = redis
        self._confirmer = AsyncConfirmer(redis, settings)
        self._admit = AsyncScript(redis, "admit")

    @classmethod
    def connect(cls, settings: RedisSettings) -> Self:
        """A store with its own pool of connections; the first command connects."""
        return cls(async_redis(settings), settings)

    async def close(self) -> None:
        await self._confirmer.close()
        await self._redis.aclose()

    async def confirm(self) -> None:
        """Return once enough replicas have all changes so far.

        Raises:
            StoreUnconfirmed: too few had them in time.
        """
        await self._confirmer.confirm()

    async def admit(self, sha256: str, charge: Charge) -> Admission | None:
        """Find a key by its fingerprint and charge it for one request, in one step. None if there is no such key."""
        found = await self._admit(secret_sha256=sha256, kind=charge.kind, times=charge.kind.times, cost=charge.cost)
        if not found:
            return None
        return Admission(
            ApiKey.model_validate_json(found["record"]),
            charge.kind,
            is_within_rate=bool(found["is_within_rate"]),
            remaining=found["remaining"],
            retry_after_s=found["retry_after_ms"] / 1000,
            refilled_s=found["refilled_after_ms"] / 1000,
        )

    async def is_valid(self, sha256: str) -> bool:
        """Whether the key with this fingerprint has not been revoked. Charges nothing."""
        return bool(await self._redis.hexists(key_names.API_KEYS, sha256))

    async def link_secret(self) -> bytes:
        """The secret that signs links, the same for all processes. The first call makes it."""
        secret = await self._redis.get(key_names.LINK_SECRET)
        if secret is None:
            await self._redis.set(key_names.LINK_SECRET, secrets.token_bytes(_LINK_SECRET_BYTES), nx=True)
            secret = await self._redis.get(key_names.LINK_SECRET)
        return cast(bytes, secret)

    async def create(
        self, name: str, scopes: Collection[Scope], per_minute: float = 600, burst: int = 100, share: int = 1
    ) -> tuple[ApiKey, str]:
        """Create a key. Returns its record and its secret, which is not stored and cannot be read again."""
        secret = new_secret()
        key = ApiKey(
            id=new_key_id(),
            name=name,
            scopes=frozenset(scopes),
            per_minute=per_minute,
            burst=burst,
            share=share,
            created_at_ms=time.time_ns() // 1_000_000,
        )
        await self._redis.hset(key_names.API_KEYS, fingerprint(secret), key.model_dump_json())
        return key, secret

    async def list(self) -> list[ApiKey]:
        """All keys, oldest first."""
        return sorted((await self._by_fingerprint()).values(), key=lambda key: key.created_at_ms)

    async def revoke(self, key_id: str) -> bool:
        """Remove a key, from the next request on. Its jobs stay. Returns False if there is no such key."""
        found = [sha256 for sha256, key in (await self._by_fingerprint()).items() if key.id == key_id]
        if found:
            await self._redis.hdel(key_names.API_KEYS, *found)  # sent again, it finds none: the answer was lost
        return bool(found)

    async def _by_fingerprint(self) -> dict[str, ApiKey]:
        records = cast(dict[bytes, bytes], await self._redis.hgetall(key_names.API_KEYS))
        return {text(sha256): ApiKey.model_validate_json(record) for sha256, record in records.items()}
