"""When a delivery is attempted again, and when it is not."""

from __future__ import annotations

import random
from collections.abc import Sequence

from shared.domain.webhook import DeliveryState
from shared.store.deliveries import Verdict
from webhooks.sender import ReceiverResponse

_GONE = 410
_JITTER = 0.1
"""Delays grow by up to this share, so that deliveries that failed together are not attempted again together."""


def verdict_after(response: ReceiverResponse, earlier_attempts: int, retries_s: Sequence[float]) -> Verdict:
    """The status of a delivery after an attempt. Only 2xx counts as delivered; 410 fails the delivery at once.

    `retries_s` are the seconds before each further attempt; a longer `Retry-After` is respected.
    """
    if response.status is not None and 200 <= response.status < 300:
        return Verdict(DeliveryState.DELIVERED)
    if response.status == _GONE or earlier_attempts >= len(retries_s):
        return Verdict(DeliveryState.FAILED)
    delay_s = retries_s[earlier_attempts] * random.uniform(1, 1 + _JITTER)  # noqa: S311
    return Verdict(DeliveryState.PENDING, retry_in_s=max(delay_s, response.retry_after_s))
