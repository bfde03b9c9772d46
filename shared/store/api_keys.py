"""API keys in Redis: made and revoked by the operator, asked for with every request."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self, cast

from redis.asyncio import Redis

from shared.domain.api_key import ApiKey, Scope, fingerprint, new_key_id, new_secret
from shared.settings import RedisSettings
from shared.store import key_names
from shared.store.connection import async_redis, script, text


@dataclass(frozen=True)
class Admission:
    """A key that was shown, and how it stands with its rate limit after this request."""

    key: ApiKey
    is_within_rate: bool
    remaining: int
    """Requests it may send at once after this one."""
    retry_after_s: float
    """Until it may send one; 0 if this one was within the rate."""
    refilled_s: float
    """Until it may send its whole burst again."""

    @property
    def window_s(self) -> int:
        """The time in which a key that has used up its burst earns it again."""
        return math.ceil(60 * self.key.burst / self.key.per_minute)


class ApiKeyStore:
    """Async, safe to share between requests. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._admit = redis.register_script(script("admit"))

    @classmethod
    def connect(cls, settings: RedisSettings) -> Self:
        """Make a store over a pool of connections; the first command connects."""
        return cls(async_redis(settings))

    async def close(self) -> None:
        await self._redis.aclose()

    async def admit(self, secret: str) -> Admission | None:
        """Find a key and charge it for one request, in one step. None: there is no such key, or no longer."""
        found = await self._admit(args=[fingerprint(secret)])
        if found is None:
            return None
        record, is_within_rate, remaining, retry_after_ms, refilled_ms = found
        key = ApiKey.model_validate_json(record)
        return Admission(key, bool(is_within_rate), remaining, retry_after_ms / 1000, refilled_ms / 1000)

    async def create(
        self, name: str, scopes: Collection[Scope], per_minute: float = 600, burst: int = 100, share: int = 1
    ) -> tuple[ApiKey, str]:
        """Make a key. Returns its record and its secret, which nobody can ever see again."""
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
        """End a key, from the next request on. Its jobs stay. False: there is no such key."""
        found = [print_ for print_, key in (await self._by_fingerprint()).items() if key.id == key_id]
        return bool(found) and bool(await self._redis.hdel(key_names.API_KEYS, *found))

    async def _by_fingerprint(self) -> dict[str, ApiKey]:
        records = cast(dict[bytes, bytes], await self._redis.hgetall(key_names.API_KEYS))
        return {text(print_): ApiKey.model_validate_json(record) for print_, record in records.items()}
