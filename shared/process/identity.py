"""The identity of a process: its name in heartbeats to the store, and whether such a name belongs to this host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable


def process_name() -> str:
    """`HOST:PID`. Unique while this process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_any_here(names: Iterable[str]) -> bool:
    """Whether one of these processes runs on this host. A container is a host of its own."""
    return any(name.rpartition(":")[0] == socket.gethostname() for name in names)
