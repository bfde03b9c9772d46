"""The identity of a process: its name in the heartbeats that the store keeps, and whether such a name is of this host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable


def process_name() -> str:
    """`HOST:PID`. Unique while this process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_any_here(names: Iterable[str]) -> bool:
    """Whether one of these processes is of this host. A container is a host of its own."""
    return any(name.rpartition(":")[0] == socket.gethostname() for name in names)
