"""The name under which a process tells the store that it lives, and how its container knows it by that."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable


def process_name() -> str:
    """Host and process: nobody else's while this process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_any_here(names: Iterable[str]) -> bool:
    """Whether a process of this host, which may be a container, is among them."""
    return any(name.rpartition(":")[0] == socket.gethostname() for name in names)
