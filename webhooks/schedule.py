"""When a delivery is tried again, and when no more."""

from __future__ import annotations

import random
from collections.abc import Sequence

from shared.domain.webhook import DeliveryState
from shared.store.deliveries import Verdict
from webhooks.sender import Answer

_GONE = 410
_JITTER = 0.1
"""Delays grow by up to this share, so that what failed together is not tried again together."""


def judge(answer: Answer, tries: int, retries_s: Sequence[float]) -> Verdict:
    """What becomes of a delivery that got this answer after `tries` earlier ones: only 2xx counts as delivered, and
    410 ends it for good."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Verdict(DeliveryState.DELIVERED)
    if answer.status == _GONE or tries >= len(retries_s):
        return Verdict(DeliveryState.FAILED)
    delay_s = retries_s[tries] * random.uniform(1, 1 + _JITTER)  # noqa: S311
    return Verdict(DeliveryState.PENDING, retry_in_s=max(delay_s, answer.retry_after_s))
