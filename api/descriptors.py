"""How many connections the operating system lets this process have: each is an open file."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

from shared.settings import Settings

_RESERVED = 256
"""Files beside the connections of clients: up to 192 connections to Redis; decoders, fetches, images."""

logger = logging.getLogger(__name__)


def settle_descriptors(settings: Settings) -> Settings:
    """The settings with `max_connections` and `max_waiters` that fit into the limit on open files, which is raised
    first as far as the system allows."""
    wanted = settings.http.max_connections
    limit = _raised_limit(wanted + _RESERVED)
    fitting = min(wanted, limit - min(_RESERVED, limit // 2))
    if fitting < wanted:
        logger.warning(
            "the process may open %d files, so it takes %d connections at once instead of MASKQ_MAX_CONNECTIONS=%d;"
            " raise the limit (`ulimit -n`)",
            limit,
            fitting,
            wanted,
        )
    return settings.replace(max_connections=fitting, max_waiters=min(settings.http.max_waiters, fitting * 3 // 4 or 1))


def _raised_limit(wanted: int) -> int:
    """The number of files that this process may open, raised to `wanted` if the system allows that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if target > soft:
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
