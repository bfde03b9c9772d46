"""The secrets that sign the webhooks of a deployment, read as its operator would."""

from __future__ import annotations

import asyncio
from typing import Literal

from shared.settings import Settings
from shared.store.webhook_secrets import WebhookSecretStore


def webhook_secrets(settings: Settings, owner: str, how: Literal["show", "rotate", "replace"] = "show") -> list[str]:
    """The secrets of `owner`, newest first, after showing, rotating or replacing them."""

    async def read() -> list[str]:
        store = WebhookSecretStore.connect(settings)
        try:
            return list(await getattr(store, how)(owner))
        finally:
            await store.close()

    return asyncio.run(read())
