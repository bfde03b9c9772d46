"""Keeps other processes of the same user from reading this one, which has secrets in its memory and its environment."""

from __future__ import annotations

import ctypes

_PR_SET_DUMPABLE = 4


def make_memory_private() -> bool:
    """Refuse to be traced or dumped: `/proc/PID/environ`, `mem` and the like then belong to root.

    It does not pass on to programs that this process starts. Returns False where the system has no such protection.
    """
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
    except AttributeError:  # macOS
        return False
