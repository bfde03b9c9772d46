"""The doctor's report: aligned lines for a person, or JSON for a program."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from local.doctor.finding import Finding, Level

_COLORS = {Level.OK: "32", Level.WARNING: "33", Level.PROBLEM: "1;31"}
_MIN_WIDTH = 60


def as_json(findings: Sequence[Finding]) -> str:
    """An object with the worst level and all findings."""
    return json.dumps({"level": worst(findings), "findings": [asdict(each) for each in findings]}, indent=2)


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, and the summary. On a terminal in color, and broken at its width."""
    areas = max(len(each.area) for each in findings)
    return "\n".join([*(_line(each, areas) for each in findings), "", _summary(findings)])


def worst(findings: Sequence[Finding]) -> Level:
    """The worst level of these findings."""
    return max((each.level for each in findings), key=list(Level).index, default=Level.OK)


def _line(finding: Finding, area_width: int) -> str:
    is_terminal = sys.stdout.isatty()
    indent = len("warning") + area_width + 4
    text = finding.text + (f". {finding.advice}" if finding.advice else "")
    if is_terminal:
        width = max(shutil.get_terminal_size().columns - indent, _MIN_WIDTH)
        text = ("\n" + " " * indent).join(textwrap.wrap(text, width, break_on_hyphens=False))
    return f"{_colored(finding.level, f'{finding.level:7}')}  {finding.area:{area_width}}  {text}"


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(each.level for each in findings)
    found = [_counted(counts[level], level) for level in (Level.PROBLEM, Level.WARNING) if counts[level]]
    return _colored(worst(findings), " and ".join(found) if found else "nothing is amiss")


def _counted(number: int, level: Level) -> str:
    return f"{number} {level}{'' if number == 1 else 's'}"


def _colored(level: Level, text: str) -> str:
    use_color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[{_COLORS[level]}m{text}\x1b[0m" if use_color else text
