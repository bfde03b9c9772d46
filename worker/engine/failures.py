"""The ways in which a step can fail. No torch here, so that the engine loop needs none."""

from __future__ import annotations


class StepOutOfMemory(Exception):
    """The device had no memory for a step. A smaller batch may fit."""


class DeviceLost(Exception):
    """The device does not work any more in this process. Only a new process can use it."""
