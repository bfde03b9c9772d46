"""What happened to every job, from the server's own log of its writes (the append-only file).

The log has each write once and in order, including those whose response was lost. So transitions can be counted
exactly, whatever died; clients and workers know only of the responses they received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from shared.store import key_names

_JOB, _RESULT, _TOMBSTONE = (name("").encode() for name in (key_names.job, key_names.result, key_names.tombstone))
_IDEMPOTENCY = key_names.idempotency("", "").rstrip(":").encode() + b":"


@dataclass
class Audit:
    """Counts since the server was started on an empty folder."""

    accepted: set[str] = field(default_factory=set)
    """The ids of the jobs that were accepted."""
    keys: Counter[str] = field(default_factory=Counter)
    """How many jobs were accepted for each idempotency key."""
    ends: Counter[str] = field(default_factory=Counter)
    """How often each job ended."""
    results: Counter[str] = field(default_factory=Counter)
    """How often a result was stored for each job."""

    @property
    def double_commits(self) -> int:
        """Jobs that ended more than once or got more than one result."""
        return sum(count > 1 for count in (self.ends | self.results).values())

    @property
    def duplicates(self) -> int:
        """Jobs beyond the first that were accepted for the same idempotency key."""
        return sum(count - 1 for count in self.keys.values())


def audit(data: Path) -> Audit:
    """Read the log in a server's data folder. The server must not have rewritten it."""
    found = Audit()
    folder = data / "appendonlydir"
    for file in sorted(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3])):
        with file.open("rb") as log:
            for command in _commands(log):
                _count(found, command)
    return found


def _commands(log: BinaryIO) -> Iterator[list[bytes]]:
    """The commands in a log, as lists of words. They are written as `*2`, `$3`, `GET`, `$1`, `k`.

    An incomplete last one is left out.
    """
    while (line := log.readline()).endswith(b"\r\n"):
        if not line.startswith(b"*"):
            continue  # an annotation
        words = []
        for _ in range(int(line[1:])):
            size = log.readline()
            word = log.read(int(size[1:]) + 2)[:-2] if size.endswith(b"\r\n") else b""
            words.append(word)
        yield words


def _count(found: Audit, command: list[bytes]) -> None:
    match command:
        case [b"HSET", key, b"id", *_] if key.startswith(_JOB):
            found.accepted.add(key[len(_JOB) :].decode())
        case [b"SET", key, *_] if key.startswith(_TOMBSTONE):
            found.ends[key[len(_TOMBSTONE) :].decode()] += 1
        case [b"SET", key, *_] if key.startswith(_RESULT):
            found.results[key[len(_RESULT) :].decode()] += 1
        case [b"SET", key, *_] if key.startswith(_IDEMPOTENCY):
            found.keys[key.decode()] += 1
