"""Which GPUs the workers of this machine use: each holds a lock on a file until its process has ended, whatever ended
it.

All workers that share a folder see each other: those of one command, containers of one host, and processes started by
hand. So each takes a GPU that no other has.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TakenDevice:
    """A device of which this process has a share until `release`, or until it has ended."""

    index: int
    """Its place among those that it could take."""
    others: int = 0
    """Number of other workers that have it as well."""
    lock: int | None = None
    """The descriptor of the file; None if there is no lock."""

    def release(self) -> None:
        """Let another worker take it."""
        if self.lock is not None:
            os.close(self.lock)


@dataclass(frozen=True)
class DeviceLocks:
    """The locks in one folder, which is created when it is needed."""

    folder: Path

    @classmethod
    def in_cache(cls, cache_dir: Path) -> Self:
        """In the cache, which the containers of a host share."""
        return cls(cache_dir / "devices")

    def take(self, names: Sequence[str]) -> TakenDevice:
        """Take the first device that the fewest workers have. Names are unique among the machines that share the
        folder. Without a folder that can be written, this is the first one, and a warning is logged."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for others in count():
                for index, name in enumerate(names):
                    if (lock := self._locked(name, others)) is not None:
                        return TakenDevice(index, others, lock)
        except OSError as error:
            logger.warning("other workers may use the same GPU, because none sees the locks of the others: %s", error)
        return TakenDevice(0)

    def _locked(self, name: str, others: int) -> int | None:
        """The descriptor of the file, or None if another process has it locked. The file is never removed: another
        process may wait to lock it."""
        file_name = f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.{others}"
        file = os.open(self.folder / file_name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        return file
