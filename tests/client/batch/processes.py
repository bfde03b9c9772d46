"""The command as a process, and what it has written down so far."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol


class Command(Protocol):
    """Starts `maskq batch` with these arguments."""

    def __call__(self, *arguments: str | Path, url: str = ...) -> subprocess.Popen[bytes]: ...


def ended(out: Path) -> list[dict[str, Any]]:
    """The ends in the journal of a batch, also while it runs."""
    try:
        lines = (out / ".maskq" / "journal.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [found for found in map(json.loads, lines) if found["kind"] in ("done", "failed")]


def wait_until_ended(out: Path, count: int) -> None:
    """Return once so many images have ended."""
    give_up_at = time.monotonic() + 60
    while len(ended(out)) < count:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
