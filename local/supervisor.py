"""Keeps a few processes running: starts them in order, restarts what crashes, ends all in reverse order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Self

from shared.process.entry_point import CONFIGURATION_STATUS

_TERM_S = 30.0
_FIRST_RESTART_S = 1.0
_MAX_RESTART_S = 30.0
_HEALTHY_S = 60.0
"""A part that ran for so long has not been crashing in a circle."""


@dataclass(frozen=True)
class Part:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment."""
    keep_open: tuple[int, ...] = ()
    """File descriptors the process inherits."""
    on_start: Callable[[], None] = lambda: None
    """Called after each start, before the next part starts."""


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    started_at: float = field(default_factory=time.monotonic)
    restart_in_s: float = _FIRST_RESTART_S
    restart_at: float | None = None


class Supervisor:
    """Use as a context: the parts run inside it. Call `check` often."""

    def __init__(self, parts: Sequence[Part], report: Callable[[str], None], output: IO[bytes] | None = None) -> None:
        """`report` hears of crashes; `output` takes what the parts print, or they print to our own terminal."""
        self._parts = parts
        self._report = report
        self._output = output
        self._running: list[_Running] = []

    def __enter__(self) -> Self:
        try:
            for part in self._parts:
                self._running.append(_Running(part, self._start(part)))
                part.on_start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    def check(self) -> int | None:
        """Restart what has ended. Returns an exit status if there is no point in going on."""
        for each in self._running:
            status = each.process.poll()
            if status is None:
                continue
            if status == CONFIGURATION_STATUS:  # starting it again would not help
                self._report(f"{each.part.name} is set up wrongly; see its last lines")
                return CONFIGURATION_STATUS
            self._restart(each, status)
        return None

    def _restart(self, each: _Running, status: int) -> None:
        now = time.monotonic()
        if each.restart_at is None:
            if now - each.started_at > _HEALTHY_S:
                each.restart_in_s = _FIRST_RESTART_S
            how = f"signal {-status}" if status < 0 else f"status {status}"
            self._report(f"{each.part.name} ended with {how}; starting it again in {each.restart_in_s:g} s")
            each.restart_at = now + each.restart_in_s
        elif now >= each.restart_at:
            each.restart_at = None
            each.restart_in_s = min(2 * each.restart_in_s, _MAX_RESTART_S)
            each.process = self._start(each.part)
            each.started_at = now
            each.part.on_start()

    def _start(self, part: Part) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            part.command,
            env={**os.environ, **part.env},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT if self._output else None,
            pass_fds=part.keep_open,
            start_new_session=True,  # a Ctrl-C reaches us alone, and we end the parts in the right order
        )

    def _stop(self) -> None:
        for each in reversed(self._running):
            if each.process.poll() is not None:
                continue
            each.process.send_signal(signal.SIGTERM)
            try:
                each.process.wait(_TERM_S)
            except subprocess.TimeoutExpired:
                self._report(f"{each.part.name} did not end within {_TERM_S:g} s and was killed")
                each.process.kill()
                each.process.wait()
