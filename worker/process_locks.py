"""Which workers of this machine have ended: each holds a lock on a file of its own until its process has ended.

The kernel frees the lock when the process has ended, whatever ended it, and not before: not while the process is
frozen, busy or about to stop. So whoever gets the lock of another worker knows that it has ended. Process ids do not
show that: a container does not see those of another, and they are used again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from shared.process.identity import boot_id
from shared.settings import Settings
from shared.settings.redis_url import RedisAddress

_MAX_RECORD_BYTES = 4096

logger = logging.getLogger(__name__)


class WorkerRecord(BaseModel, frozen=True):
    """What the file of a worker states."""

    worker_id: str = Field(min_length=1)
    """The name of the process in the ledger, which no other process has ever had."""
    model_id: str
    boot_id: str
    """Of the kernel on which the worker runs. The locks of another kernel prove nothing: a network file system may not
    show them here."""
    inode: int
    """Of the file. A copy of it has another one, and no lock."""


class ProcessLocks:
    """The files of the workers of one ledger."""

    def __init__(self, folder: Path) -> None:
        """`folder` is created when it is needed. Workers that have the same folder see each other's end."""
        self._folder = folder
        self._own: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """In the cache, which the containers of a host share and which survives the restart of a container."""
        ledger = RedisAddress.parse(settings.redis.redis_url).ledger
        name = hashlib.sha256(ledger.encode()).hexdigest()[:16]
        return cls(settings.checkpoint.cache_dir / "workers" / name)

    def hold(self, worker_id: str, model_id: str) -> None:
        """Hold a lock from now on until `close`, or until this process has ended. Without a folder that can be written,
        a warning is logged: nobody sees the end of this process, and its leases have to end."""
        try:
            self._own = self._locked_file(worker_id, model_id)
        except OSError as error:
            logger.warning("if this worker is killed, its jobs wait for the end of their leases: %s", error)

    def visit_ended(self, act: Callable[[WorkerRecord], object]) -> None:
        """Call `act` with the record of each worker that has ended. If `act` raises, the record is kept for the next
        visit; otherwise it is removed."""
        for path in self._files():
            with _lock_of_another(path) as file:
                record = _record(file) if file is not None else None
                if file is not None and record is not None:
                    act(record)
                    _remove(path, file)

    def running(self) -> list[str]:
        """Ids of the workers that hold their locks: they have started, and not ended."""
        return [path.name for path in self._files() if _is_held(path)]

    def close(self) -> None:
        """Free the own lock: this worker has no more jobs. The next visitor removes the file."""
        if self._own is not None:
            os.close(self._own)
            self._own = None

    def _locked_file(self, worker_id: str, model_id: str) -> int:
        """The descriptor of a new file. It gets its name when it is locked, so nobody finds it without its lock."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{worker_id}"
        file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            inode = os.fstat(file).st_ino
            record = WorkerRecord(worker_id=worker_id, model_id=model_id, boot_id=boot_id(), inode=inode)
            os.write(file, record.model_dump_json().encode())
            draft.rename(self._folder / worker_id)
        except OSError:
            os.close(file)
            draft.unlink(missing_ok=True)
            raise
        return file

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        except OSError:
            return []  # no worker has had a lock here, or none can


def _is_held(path: Path) -> bool:
    with _lock_of_another(path) as file:
        return file is None and path.exists()


@contextmanager
def _lock_of_another(path: Path) -> Iterator[int | None]:
    """The descriptor of a file that is locked while the context lasts. None if a process holds the lock, or if the file
    is gone or cannot be opened."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        yield file if _is_free(file) else None
    finally:
        os.close(file)


def _remove(path: Path, file: int) -> None:
    """Remove a file. Where the folder cannot be written any longer, it stays, and is empty."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        os.ftruncate(file, 0)


def _is_free(file: int) -> bool:
    """Whether this call got the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _record(file: int) -> WorkerRecord | None:
    """The record in a file that is locked. None if it has none of this kernel, or is a copy."""
    try:
        record = WorkerRecord.model_validate_json(os.read(file, _MAX_RECORD_BYTES))
    except (OSError, ValidationError):
        return None
    is_ours = record.boot_id == boot_id() and record.inode == os.fstat(file).st_ino
    return record if is_ours else None
