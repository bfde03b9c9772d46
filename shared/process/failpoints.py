"""Lets a test kill a process at a chosen step of a job, as a power cut would."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_VARIABLE = "MASKQ_FAILPOINT"
"""`POINT:FILE`: at this point, if the file can be taken away, the process is killed. So it dies once per file."""


def failpoint(name: str) -> None:
    """End this process with SIGKILL if a test wants that here. Costs a look into the environment."""
    wanted = os.environ.get(_VARIABLE)
    if not wanted:
        return
    point, _, file = wanted.partition(":")
    if point == name and _take_away(Path(file)):
        os.kill(os.getpid(), signal.SIGKILL)


def _take_away(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
