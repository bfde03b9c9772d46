"""One try of a delivery: a POST, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpcore2

from shared.errors import UrlRefused
from shared.outbound import FAILURES, Outbound
from shared.store.deliveries import DeliveryLease
from webhooks.message import signed_message

_MAX_DIGITS = 9
"""More seconds than that are no time anybody waits."""


@dataclass(frozen=True)
class Answer:
    """What a receiver did."""

    status: int | None = None
    """None: it gave no answer."""
    error: str | None = None
    """Why there was none, in words a client may read."""
    retry_after_s: float = 0.0
    """How long it wants to be left alone."""


class Sender:
    """Safe to share between tasks."""

    def __init__(self, outbound: Outbound, timeout_s: float) -> None:
        self._outbound = outbound
        self._timeout_s = timeout_s

    async def send(self, lease: DeliveryLease, secrets: Sequence[str]) -> Answer:
        """Send once, and wait for the status. Redirects are not followed, and the body of the answer is not read."""
        message = signed_message(lease, secrets)
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._outbound.request("POST", lease.webhook.url, message.headers, message.body) as response:
                    return Answer(response.status, retry_after_s=retry_after_s(response, lease.claimed_at_ms))
        except TimeoutError:
            return Answer(error=f"no answer within {self._timeout_s:g} s")
        except UrlRefused as error:
            return Answer(error=error.detail)
        except FAILURES:
            return Answer(error="the connection failed")


def retry_after_s(response: httpcore2.Response, now_ms: int) -> float:
    """What the header `Retry-After` (RFC 9110, section 10.2.3) asks for; 0 if it is not there or makes no sense."""
    headers = {name.lower(): value.decode("latin-1").strip() for name, value in response.headers}
    value = headers.get(b"retry-after", "")
    if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_ms / 1000)
