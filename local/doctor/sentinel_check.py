"""Examines the sentinels of REDIS_URL: whether they answer, and agree which server is the primary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from local.doctor.finding import Finding, ok, warning
from shared.settings import RedisSettings
from shared.settings.redis_url import Endpoint, RedisAddress
from shared.store.connection import primary_of
from shared.store.sentinel_faults import sentinel_fault
from shared.store.server_faults import reason_of

_AREA = "sentinels"
_MIN_SENTINELS = 3
"""Of fewer, the loss of one leaves no majority that can replace a primary."""


def examine_sentinels(settings: RedisSettings) -> Iterator[Finding]:
    """Report on each sentinel that names no primary, and on the primary. Nothing if REDIS_URL names a server."""
    address = RedisAddress.parse(settings.redis_url)
    if address.sentinel is None:
        return
    count = len(address.endpoints)
    if count < _MIN_SENTINELS:
        yield warning(_AREA, f"REDIS_URL names {count} of them", "Name all, and run at least three")
    named: Counter[Endpoint] = Counter()
    for sentinel, answer in primary_of(settings).sentinels.answers():
        if isinstance(answer, Endpoint):
            named[answer] += 1
        else:
            why = sentinel_fault(answer) or reason_of(answer)
            yield warning(_AREA, f"{sentinel} names no primary: {why}", "Start it, or change REDIS_URL")
    for primary, votes in named.items():
        text = f"{votes} of {count} name {primary} as the primary of {address.sentinel.service}"
        is_agreed = len(named) == 1
        yield ok(_AREA, text) if is_agreed else warning(_AREA, text, "A failover is in progress, or they are cut off")
