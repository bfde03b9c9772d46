"""Sends a webhook once: a POST, and what the receiver responded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpcore2

from shared.domain.job import ANONYMOUS
from shared.errors import UrlRefused
from shared.outbound import FAILURES, Outbound, failure_of
from shared.store.deliveries import DeliveryLease
from webhooks.message import signed_message

_MAX_DIGITS = 9
"""Of the seconds in `Retry-After`. A larger number is ignored."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReceiverResponse:
    """The response of a receiver, or why there was none."""

    status: int | None = None
    """The HTTP status, or None if there was no response."""
    error: str | None = None
    """Why there was no response, safe to show to clients."""
    retry_after_s: float = 0.0
    """Seconds for which the receiver requests no further attempt."""


class Sender:
    """Sends messages of claimed deliveries. Safe to share between tasks."""

    def __init__(self, outbound: Outbound, timeout_s: float) -> None:
        """`timeout_s` limits a request, from resolving the name to the status."""
        self._outbound = outbound
        self._timeout_s = timeout_s

    async def send(self, lease: DeliveryLease, secrets: Sequence[str]) -> ReceiverResponse:
        """Send the message once, and wait for the status. Redirects are not followed; the body of the response is not
        read. Whatever a receiver does, this returns: every attempt is recorded."""
        try:
            message = signed_message(lease, secrets)
            async with asyncio.timeout(self._timeout_s):
                async with self._outbound.request(
                    "POST", lease.webhook.url, message.headers, message.body, _client(lease)
                ) as response:
                    return ReceiverResponse(response.status, retry_after_s=retry_after_s(response, lease.claimed_at_ms))
        except TimeoutError:
            return ReceiverResponse(error=f"no answer within {self._timeout_s:g} s")
        except UrlRefused as error:
            return ReceiverResponse(error=error.detail)
        except FAILURES as error:
            return ReceiverResponse(error=failure_of(error))
        except Exception:
            logger.exception("%s: an unforeseen error in an attempt", lease.subject.id)
            return ReceiverResponse(error="an unforeseen error; it was logged with this id")


def _client(lease: DeliveryLease) -> str:
    """Whom limits count: the owner, or without API keys the domain of the receiver, whose name servers may be slow."""
    owner = lease.subject.owner
    host = urlsplit(lease.webhook.url).hostname or ""
    return owner if owner != ANONYMOUS else ".".join(host.split(".")[-2:])


def retry_after_s(response: httpcore2.Response, now_ms: int) -> float:
    """Seconds in the header `Retry-After` (RFC 9110, section 10.2.3): a number or a date. 0 if missing or invalid."""
    headers = {name.lower(): value.decode("latin-1").strip() for name, value in response.headers}
    value = headers.get(b"retry-after", "")
    if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, seconds)
