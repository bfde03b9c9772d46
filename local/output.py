"""Where the output of a supervised process goes: to a file of its own, or through us to the terminal."""

from __future__ import annotations

import os
import re
import threading
import tty
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

_EXPLAINS = re.compile(r"^maskq: |\bcritical\b")
"""A line in which a process explains why it cannot start: before its logs are set up, or in them."""
_CHUNK_BYTES = 65_536
_KEPT_LINES = 50
_COPY_S = 5.0


class Output(Protocol):
    """Takes what one process prints, over all its restarts."""

    def opened(self) -> AbstractContextManager[int]:
        """A file descriptor for one start of the process. The context closes our copy of it."""

    def explanation(self) -> str:
        """The line in which the process, which has ended, explains why. Empty if it printed nothing."""


class LogFile:
    """Appends the output to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def opened(self) -> Iterator[int]:
        with self._path.open("ab") as file:
            yield file.fileno()

    def explanation(self) -> str:
        return _explanation(self._path.read_text("utf-8", "replace").splitlines())


class CopiedOutput:
    """Copies the output to `target`, which other processes may share, and keeps its last lines.

    A process whose output is copied to a terminal gets a terminal (a pty), so that it still prints in color.
    """

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._copier: threading.Thread | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        source, sink = os.openpty() if self._target.isatty() else os.pipe()
        if os.isatty(sink):
            tty.setraw(sink)  # the terminal itself turns line feeds into new lines
        self._copier = threading.Thread(target=self._copy, args=[source], daemon=True)
        self._copier.start()
        try:
            yield sink
        finally:
            os.close(sink)

    def explanation(self) -> str:
        if self._copier is not None:
            self._copier.join(_COPY_S)
        return _explanation(self._lines)

    def _copy(self, source: int) -> None:
        with os.fdopen(source, "rb", buffering=0) as reader:
            rest = b""
            while chunk := _read(reader):
                self._target.write(chunk)
                self._target.flush()
                *lines, rest = (rest + chunk).split(b"\n")
                self._lines.extend(line.decode("utf-8", "replace") for line in lines)


def _read(reader: IO[bytes]) -> bytes:
    try:
        return reader.read(_CHUNK_BYTES)
    except OSError:  # how a pty ends
        return b""


def _explanation(lines: Iterable[str]) -> str:
    printed = [line for line in lines if line.strip()]
    return next((line for line in reversed(printed) if _EXPLAINS.search(line)), printed[-1] if printed else "")
