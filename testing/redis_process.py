"""One Redis or Valkey process, server or Sentinel, in a folder of its own, which can be killed, frozen and wiped."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PORT = 6379
"""Each process has an address of its own, and all have the same port."""


@dataclass(eq=False)
class RedisProcess:
    """Its configuration is a file in its folder, which it changes itself: started again, it is what it was before."""

    name: str
    folder: Path
    host: str
    """The address at which it listens, and from which it connects."""
    public_port: int
    """The port on 127.0.0.1 at which everyone else reaches it, through the proxy."""
    command: Sequence[str]
    """Without the configuration file."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where clients, servers and Sentinels reach it."""
        return "127.0.0.1", self.public_port

    @property
    def log(self) -> Path:
        """What it has logged, over all its starts."""
        return self.folder.with_suffix(".log")

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed. A frozen one runs."""
        return self.process is not None

    def configure(self, lines: Sequence[str]) -> None:
        """Give it an empty folder with this configuration."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        own = [f"bind {self.host}", f"bind-source-addr {self.host}", f"dir {self.folder}", f"logfile {self.log}"]
        (self.folder / "redis.conf").write_text("\n".join([*own, *lines, ""]), "utf-8")

    def start(self) -> None:
        """Start it on what is in its folder. It may not answer yet."""
        program, *options = self.command
        # What it prints before it has read its configuration is about mistakes in it.
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program, str(self.folder / "redis.conf"), *options], stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """End it with SIGKILL, frozen or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it in the middle of what it does, with SIGSTOP. Its connections stay open."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
