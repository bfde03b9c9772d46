"""API keys for tests."""

from __future__ import annotations

import asyncio

from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore


def make_key(settings: Settings) -> tuple[str, str]:
    """Make a key that may submit and read, with a rate that no test reaches. Returns its id and its text."""

    async def make() -> tuple[str, str]:
        store = ApiKeyStore.connect(settings.redis)
        try:
            key, text = await store.create("tester", [Scope.SUBMIT, Scope.READ], per_minute=1e8, burst=1_000_000)
            return key.id, text
        finally:
            await store.close()

    return asyncio.run(make())
