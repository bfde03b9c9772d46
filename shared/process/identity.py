"""The identity of a process: its name in heartbeats to the store, and whether such a name belongs to this host."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_name() -> str:
    """`HOST:PID`. Unique while this process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def unique_process_name() -> str:
    """`HOST:PID:RANDOM`, another one with each call. A container that is started again has the same host and pid."""
    return f"{process_name()}:{secrets.token_hex(8)}"


def is_any_here(names: Iterable[str]) -> bool:
    """Whether one of these processes runs on this host. A container is a host of its own."""
    return any(name.partition(":")[0] == socket.gethostname() for name in names)


def pids_here(names: Iterable[str]) -> set[int]:
    """The process ids of those of these processes that run on this host."""
    parts = [name.split(":") for name in names]
    return {int(each[1]) for each in parts if each[0] == socket.gethostname() and len(each) > 1 and each[1].isdigit()}


def boot_id() -> str:
    """The same for all processes of one kernel until it is started again; without Linux the name of the host."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return socket.gethostname()
