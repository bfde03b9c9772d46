"""A limit on the time for which a process works."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHECK_S = 0.25


class TimeLimit:
    """Kills processes that take longer than they may, a quarter of a second late at most. Thread-safe. One thread
    watches all: to start one for each image would take longer than to send it."""

    def __init__(self) -> None:
        self._deadlines: dict[subprocess.Popen[bytes], float] = {}
        self._is_needed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
        """Kill the process if the block takes longer than this."""
        self._deadlines[process] = time.monotonic() + seconds
        self._watch()
        try:
            yield
        finally:
            self._deadlines.pop(process, None)

    def _watch(self) -> None:
        if self._is_needed.is_set():
            return
        with self._lock:
            self._is_needed.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="time limit", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while self._is_needed.wait():
            time.sleep(_CHECK_S)
            self._kill_late()
            if not self._deadlines:
                self._is_needed.clear()
                if self._deadlines:  # one was added meanwhile, and saw the event set
                    self._is_needed.set()

    def _kill_late(self) -> None:
        now = time.monotonic()
        for process, deadline in list(self._deadlines.items()):
            if now > deadline:
                process.kill()
