"""One job process as its worker sees it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from worker.claims import Claim
from worker.job_processes.messages import Message, Run, SetUp, Unpacker, packed
from worker.job_processes.pixel_memory import PixelMemory, memory_file
from worker.jobs import Ended

_ROOT = Path(__file__).parents[2]
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""NumPy multiplies no matrices in a job process. Its threads would only take memory."""


@dataclass(frozen=True)
class RunningJob:
    """A job that was given to a job process."""

    claim: Claim
    ended: Ended


class Connection(asyncio.Protocol):
    """A job process and the socket to it. All methods are called on the event loop."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        memory: PixelMemory,
        received: Callable[[Connection, Message], None],
        lost: Callable[[Connection], None],
    ) -> None:
        """`received` is called with each message of the process, and `lost` when it has ended or is about to."""
        self.process = process
        self.memory = memory
        self.running: dict[int, RunningJob] = {}
        """Its jobs, by the numbers of their runs."""
        self.is_ready = False
        """Whether it waits for jobs. Before, it keeps those that it is given."""
        self.silent_checks = 0
        """How many questions it has left without an answer."""
        self._received = received
        self._lost = lost
        self._unpacker = Unpacker()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        set_up: SetUp,
        received: Callable[[Connection, Message], None],
        lost: Callable[[Connection], None],
    ) -> Self:
        """Start a job process with `command`, which gets two descriptors as arguments, and tell it `set_up`."""
        process, ours, memory = _started(command, set_up)
        connection = cls(process, memory, received, lost)
        connection.send(set_up)
        await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=ours)
        return connection

    def run(self, number: int, job: RunningJob) -> None:
        """Have it run a job."""
        self.running[number] = job
        self.send(Run(number, job.claim.lease))
        job.claim.forget_image()

    def send(self, message: Message) -> None:
        """Send a message, together with all others of this turn of the loop."""
        if not self._unsent and self._transport:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(packed(message))

    @property
    def is_open(self) -> bool:
        """Whether messages can still reach it."""
        return self._transport is not None

    def kill(self) -> None:
        """End the process at once. `lost` is called as if it had ended by itself."""
        self.process.kill()

    def close(self) -> None:
        """Close the socket, which ends the process."""
        if self._transport:
            self._transport.close()

    # --- What asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._flush()

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            self._received(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost(self)

    def _flush(self) -> None:
        if self._transport:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()


def _started(command: Sequence[str], set_up: SetUp) -> tuple[subprocess.Popen[bytes], socket.socket, PixelMemory]:
    """A new process, our end of the socket to it, and the memory that it shares with us.

    Raises:
        OSError: it cannot start. Nothing stays open.
    """
    with ExitStack() as passed, ExitStack() as kept:
        ours, theirs = socket.socketpair()
        kept.enter_context(ours)
        passed.enter_context(theirs)
        file = memory_file(set_up.side, set_up.slots)
        passed.callback(os.close, file)
        memory = PixelMemory(file, set_up.side, set_up.slots)
        process = subprocess.Popen(  # noqa: S603  no part of the command comes from a client
            [*command, str(theirs.fileno()), str(file)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join([str(_ROOT), *_python_path()])},
            pass_fds=(theirs.fileno(), file),
            start_new_session=True,  # Ctrl-C must reach only the worker
        )
        kept.pop_all()
    return process, ours, memory


def _python_path() -> list[str]:
    path = os.environ.get("PYTHONPATH")
    return [path] if path else []


def own_command(module: str) -> tuple[str, ...]:
    """The command that runs a module with this interpreter."""
    return sys.executable, "-m", module
