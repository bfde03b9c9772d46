"""Runs programs; a failure of one ends the trial and shows its output."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class TrialFailed(Exception):
    """The service did something wrong. The message explains what."""


class CannotRun(Exception):
    """This machine cannot run containers. The message is the reason."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a program to its end, in a folder. Returns its standard output.

    Raises:
        TrialFailed: its exit status is not 0; the message has the last 3,000 characters of its output.
    """
    words = [str(word) for word in command]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    if done.returncode:
        raise TrialFailed(f"{' '.join(words)}: status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def wait_until(happened: Callable[[], bool], what: str, max_s: float) -> float:
    """Wait until `happened` returns true. Returns the seconds that this took.

    Raises:
        TrialFailed: it did not happen in `max_s` seconds.
    """
    begin = time.monotonic()
    while not happened():
        if time.monotonic() - begin > max_s:
            raise TrialFailed(f"waited {max_s:g} s for {what}")
        time.sleep(0.2)
    return time.monotonic() - begin
