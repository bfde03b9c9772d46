"""What the doctor found: one line, how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. Only a problem keeps the service from working."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    area: str
    level: Level
    text: str
    advice: str = ""
    """What to do. Empty if there is nothing to do."""


def ok(area: str, text: str) -> Finding:
    """Something is as it must be."""
    return Finding(area, Level.OK, text)


def warning(area: str, text: str, advice: str) -> Finding:
    """The service works, and will not always."""
    return Finding(area, Level.WARNING, text, advice)


def problem(area: str, text: str, advice: str) -> Finding:
    """The service, or a part of it, does not work."""
    return Finding(area, Level.PROBLEM, text, advice)


def gigabytes(size: float) -> str:
    """`1.5 GB`, or `15 MB` of less than 0.1 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
