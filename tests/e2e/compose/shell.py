"""Programs that the trial runs: what they print goes to the log, and their failure ends the trial."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class TrialFailed(Exception):
    """Something is not as it must be. The message says what."""


class CannotRun(Exception):
    """This machine cannot run containers. The message says why."""


def run(command: Sequence[str | Path], *, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed to standard output.

    Raises:
        TrialFailed: it ended with another status than 0; shows the end of what it printed.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )
    if done.returncode:
        raise TrialFailed(f"{' '.join(words)}: status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def wait_until(happened: Callable[[], bool], what: str, max_s: float) -> float:
    """Return once `happened` says so, and how many seconds that took.

    Raises:
        TrialFailed: it does not, in `max_s` seconds.
    """
    begin = time.monotonic()
    while not happened():
        if time.monotonic() - begin > max_s:
            raise TrialFailed(f"waited {max_s:g} s for {what}")
        time.sleep(0.2)
    return time.monotonic() - begin
