"""Failpoints: a test can kill a process at a chosen step of a job, as a power cut would."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_VARIABLE = "MASKQ_FAILPOINT"
"""`POINT:FILE`: at this failpoint, the process removes the file and is killed. Without the file it runs on, so a file
kills one process once."""


def failpoint(name: str) -> None:
    """End this process with SIGKILL if a test chose this failpoint. Otherwise costs one look into the environment."""
    chosen = os.environ.get(_VARIABLE)
    if not chosen:
        return
    point, _, file = chosen.partition(":")
    if point == name and _removed(Path(file)):
        os.kill(os.getpid(), signal.SIGKILL)


def _removed(file: Path) -> bool:
    """Remove the file. False if it does not exist, or another process was first."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
