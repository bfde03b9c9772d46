"""What the doctor found: one line, how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from maskq.cli.exit_status import ExitStatus


class Level(str, Enum):
    """How bad a finding is. Only a failure keeps a client from working."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    area: str
    level: Level
    text: str
    advice: str = ""
    """What to do. Empty if there is nothing to do."""
    status: ExitStatus = ExitStatus.OK
    """The exit status, if this is the first failure."""


def ok(area: str, text: str) -> Finding:
    """Something is as it must be."""
    return Finding(area, Level.OK, text)


def warning(area: str, text: str, advice: str) -> Finding:
    """A client works, and will not always."""
    return Finding(area, Level.WARNING, text, advice)


def failure(area: str, text: str, advice: str, status: ExitStatus = ExitStatus.FAILED) -> Finding:
    """A client does not work."""
    return Finding(area, Level.FAILURE, text, advice, status)
