"""One process at a time works on a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from maskq.batch.errors import BatchRefused


class FolderLock:
    """The lock of a folder. The system removes it when the process ends, in whichever way."""

    def __init__(self, path: Path) -> None:
        """Raises `BatchRefused` if another process has it."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self._file)
        except OSError:
            os.close(self._file)
            raise BatchRefused(f"another process works on this batch: {path.parent.parent}") from None

    def release(self) -> None:
        """Let others work on the folder."""
        os.close(self._file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
