"""The journal of a batch: JSON lines that are only appended. It is all that a batch knows.

The first line describes the batch. Then comes a line for each image, with its number, and a line for each end: `done`
with what was found, or `failed`. A newer line replaces an older one of the same image. A line that a kill has cut is
removed: its image is then submitted again, with the same key, and the service answers with the same job.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from maskq.batch.errors import BatchRefused
from maskq.batch.images import ImageFile
from maskq.typed import Json

DONE, FAILED = "done", "failed"
_VERSION = 1


@dataclass
class Entry:
    """What the journal says about one image. What was found stays in the file."""

    number: int
    """From 1. It never changes."""
    file: ImageFile
    status: str | None = None
    attempt: int = 0
    """How many of its jobs have ended."""
    offset: int = -1
    """Where the line about its end begins, in bytes."""


class Journal:
    """The journal in one file. For one thread of one process."""

    def __init__(self, path: Path, head: Json) -> None:
        """Read the journal, or begin one with this head.

        Raises:
            BatchRefused: the file is no journal of this version.
        """
        self._path = path
        self._file = path.open("a+b", buffering=0)
        self.entries: dict[str, Entry] = {}
        """By name, in the order of their numbers."""
        self.categories: dict[str, int] = {}
        """Numbers of labels from 1, in the order in which they came. They never change."""
        self._by_number: dict[int, Entry] = {}
        self._end = 0
        try:
            self.head = self._read() or self._begin(head)
            """The first line."""
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Make sure that all is on the disk."""
        os.fsync(self._file.fileno())
        self._file.close()

    def add_images(self, images: Iterable[ImageFile]) -> None:
        """Write down images that are new, or that are not the same as before, and number them."""
        fresh = count(max(self._by_number, default=0) + 1)
        known = {name: entry.number for name, entry in self.entries.items()}
        self._append({"kind": "image", "id": known.get(each.name) or next(fresh), **vars(each)} for each in images)

    def add_end(self, entry: Entry, end: Json) -> None:
        """Write down how the newest job of an image has ended. `end` has `kind`."""
        self._append([{"id": entry.number, "attempt": entry.attempt + 1, **end}])

    def ends(self, status: str) -> Iterator[tuple[Entry, Json]]:
        """The ends of all images with this status, by number. One is read at a time."""
        for entry in self.entries.values():
            if entry.status == status:
                yield entry, self._line_at(entry.offset)

    def count(self, status: str | None) -> int:
        """How many images have this status."""
        return sum(entry.status == status for entry in self.entries.values())

    def key_of(self, entry: Entry) -> str:
        """The idempotency key of the next job of an image. It is the same until the end of that job is written down."""
        name = hashlib.sha256(entry.file.name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"{self.head['id']}-{name}-{entry.attempt + 1}"

    def _begin(self, head: Json) -> Json:
        head = {"kind": "batch", "version": _VERSION, **head}
        self._append([head])
        os.fsync(self._file.fileno())
        return head

    def _read(self) -> Json | None:
        self._file.seek(0)
        head: Json | None = None
        for line in _whole_lines(self._file.fileno()):
            found = _parsed(line)
            if self._end == 0:
                head = _valid_head(found)
            elif found:
                self._learn(found, self._end)
            self._end += len(line)
        self._file.truncate(self._end)
        return head

    def _append(self, lines: Iterable[Json]) -> None:
        offset, data = self._end, bytearray()
        learned = []
        for line in lines:
            learned.append((line, offset + len(data)))
            data += json.dumps(line, separators=(",", ":")).encode() + b"\n"
        _write_all(self._file.fileno(), data)
        self._end += len(data)
        for line, at in learned:
            self._learn(line, at)

    def _learn(self, line: Json, offset: int) -> None:
        if line["kind"] == "image":
            self._learn_image(line)
        elif (entry := self._by_number.get(line.get("id", 0))) is not None:
            entry.status, entry.attempt, entry.offset = line["kind"], line["attempt"], offset
            for found in line.get("objects", ()):
                self.categories.setdefault(found["name"], len(self.categories) + 1)

    def _learn_image(self, line: Json) -> None:
        file = ImageFile(line["name"], line["size_bytes"], line["mtime_ns"])
        known = self.entries.get(file.name)
        if known:
            known.file = file
        else:
            self._by_number[line["id"]] = self.entries[file.name] = Entry(line["id"], file)

    def _line_at(self, offset: int) -> Json:
        with self._path.open("rb") as file:
            file.seek(offset)
            found: Json = json.loads(file.readline())
        return found


def _whole_lines(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _parsed(line: bytes) -> Json | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "kind" in found else None


def _valid_head(found: Json | None) -> Json:
    if not found or found.get("kind") != "batch" or found.get("version") != _VERSION:
        raise BatchRefused("the journal of this batch cannot be read by this version; --restart begins anew")
    return found
