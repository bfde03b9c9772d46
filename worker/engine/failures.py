"""How a step can fail, in words that need no torch."""

from __future__ import annotations


class StepOutOfMemory(Exception):
    """The device had no memory for a step. A smaller batch may fit."""


class DeviceLost(Exception):
    """The device answers nothing any more in this process; only a new process can use it."""
