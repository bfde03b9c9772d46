"""Whom a delivery counts for, so that receivers whose names do not resolve delay no one else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.domain.job import ANONYMOUS, JobStatus
from shared.domain.webhook import Webhook
from shared.errors import UrlRefused
from shared.outbound import Outbound
from shared.settings import Settings
from shared.store.deliveries import DeliveryLease
from testing.factories import stored_job
from webhooks.sender import Sender


class _Recording(Outbound):
    """Sends nothing and keeps for whom it should."""

    client = ""

    @asynccontextmanager
    async def request(self, *args: Any, client: str = "", **_: Any) -> AsyncIterator[Any]:
        self.client = client or args[4]
        raise UrlRefused("recorded")
        yield


@pytest.mark.parametrize(
    ("owner", "url", "client"),
    [
        ("key-1", "https://a.hooks.example/", "key-1"),
        (ANONYMOUS, "https://a.hooks.example:443/", "hooks.example"),
        (ANONYMOUS, "https://hooks.example/", "hooks.example"),
        (ANONYMOUS, "https://localhost/", "localhost"),
    ],
)
def test_a_delivery_counts_for_its_owner_or_without_keys_for_the_receivers_domain(
    owner: str, url: str, client: str
) -> None:
    job = stored_job(owner=owner, status=JobStatus.SUCCEEDED, finished_at_ms=1)
    lease = DeliveryLease(job, Webhook(url=url, base_url="http://x/"), token="1-a", attempts=0, claimed_at_ms=1)
    outbound = _Recording(Settings.of().outbound, "webhook_url")
    asyncio.run(Sender(outbound, timeout_s=5).send(lease, []))
    assert outbound.client == client
