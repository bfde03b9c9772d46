"""Keeps processes running: starts them in order, restarts those that end, stops all in reverse order."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from local.output import Output
from shared.process.entry_point import CONFIGURATION_STATUS

_STOP_S = 30.0
_EXEC = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"
"""1 is PR_SET_PDEATHSIG and 15 SIGTERM. Done after the fork, because code between fork and exec is not safe in a
program with threads."""


class MisconfiguredProcess(Exception):
    """A process ended with the status for a wrong configuration. Starting it again would not help."""

    def __init__(self, name: str, explanation: str) -> None:
        super().__init__(f"{name} is misconfigured: {explanation}")
        self.name = name
        self.explanation = explanation
        """The line that the process itself printed."""


@dataclass(frozen=True)
class RestartPolicy:
    """How long a process that ended stays down: the delay doubles from the first to the longest."""

    first_s: float
    max_s: float
    healthy_s: float = 60.0
    """A process that ran for longer than this gets the first delay again."""


BACK_OFF = RestartPolicy(first_s=1.0, max_s=30.0)
AT_ONCE = RestartPolicy(first_s=0.0, max_s=0.0)


@dataclass(eq=False)
class SupervisedProcess:
    """A command to keep running, and the process that runs it now."""

    name: str
    command: Sequence[str]
    output: Output
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment. A change counts from the next start on."""
    keep_open: tuple[int, ...] = ()
    """File descriptors the process inherits."""
    wait_until_ready: Callable[[], None] = lambda: None
    """Called after the first start, before the next process starts."""
    process: subprocess.Popen[bytes] | None = None
    """None while it is down."""
    exit_statuses: list[int] = field(default_factory=list)
    """One for each time it ended; the number of the signal, negative, if one ended it."""
    _started_at: float = 0.0
    _restart_at: float = 0.0
    _delay_s: float = 0.0
    _held_down_until: float = 0.0
    """These are times of the monotonic clock."""

    def start(self) -> None:
        """Start the command in a session of its own, so that Ctrl-C reaches only us and we stop all in order."""
        self._started_at = time.monotonic()
        with self.output.opened() as output:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=self.keep_open,
                start_new_session=True,
            )

    def kill(self, down_s: float = 0.0) -> None:
        """End it with SIGKILL and hold it down for `down_s` seconds."""
        self.hold_down(down_s)
        self._send(signal.SIGKILL)

    def terminate(self, down_s: float = 0.0) -> None:
        """Ask it to stop, with SIGTERM, and hold it down for `down_s` seconds."""
        self.hold_down(down_s)
        self._send(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop it in the middle of what it does, with SIGSTOP."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `freeze`."""
        self._send(signal.SIGCONT)

    def hold_down(self, seconds: float = math.inf) -> None:
        """Do not start it again before so many seconds have passed; 0 ends this."""
        self._held_down_until = time.monotonic() + seconds

    def stop(self, max_s: float) -> bool:
        """End it: with SIGTERM, and with SIGKILL if it still runs after `max_s` seconds. Returns whether it obeyed."""
        if self.process is None or self.process.poll() is not None:
            return True
        self._send(signal.SIGTERM)
        self.resume()
        try:
            self.process.wait(max_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False
        return True

    def collect_exit(self) -> int | None:
        """The exit status if it has ended since the last call."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        self.exit_statuses.append(status)
        self.process = None
        return status

    def schedule_restart(self, policy: RestartPolicy) -> float:
        """Returns the seconds until it is started again."""
        now = time.monotonic()
        is_first = self._delay_s == 0 or now - self._started_at > policy.healthy_s
        self._delay_s = policy.first_s if is_first else min(2 * self._delay_s, policy.max_s)
        self._restart_at = now + self._delay_s
        return self._delay_s

    @property
    def is_due(self) -> bool:
        """Whether it is down and may be started again."""
        return self.process is None and time.monotonic() >= max(self._restart_at, self._held_down_until)

    def _send(self, number: signal.Signals) -> None:
        if (process := self.process) is not None:
            process.send_signal(number)


class Supervisor:
    """Use as a context: the processes run inside it. Call `check` often."""

    def __init__(
        self,
        processes: Iterable[SupervisedProcess],
        policy: RestartPolicy = BACK_OFF,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`report` takes a line for each process that ended on its own."""
        self.processes = list(processes)
        self._policy = policy
        self._report = report

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all, in their order."""
        for process in self.processes:
            process.start()
            process.wait_until_ready()

    def add(self, process: SupervisedProcess) -> None:
        """Start one more process, and keep it running like the rest."""
        process.start()
        self.processes.append(process)

    def check(self) -> None:
        """Restart what has ended.

        Raises:
            MisconfiguredProcess: there is no point in going on.
        """
        for process in list(self.processes):
            status = process.collect_exit()
            if status == CONFIGURATION_STATUS:
                raise MisconfiguredProcess(process.name, process.output.explanation())
            if status is not None:
                delay_s = process.schedule_restart(self._policy)
                how = f"signal {-status}" if status < 0 else f"status {status}"
                self._report(f"{process.name} ended with {how}; starting it again in {delay_s:g} s")
            if process.is_due:
                process.start()

    def stop(self) -> None:
        """Stop all, the last one started first."""
        for process in reversed(self.processes):
            if not process.stop(_STOP_S):
                self._report(f"{process.name} did not end within {_STOP_S:g} s and was killed")


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """The command, made to receive SIGTERM when the thread that starts it ends: so too when SIGKILL ends us.

    Linux only; elsewhere the command is returned as it is.
    """
    return [sys.executable, "-I", "-S", "-c", _EXEC, *command] if sys.platform == "linux" else list(command)
