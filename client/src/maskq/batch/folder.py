"""The folder of results: where what is, and how files get there whole or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from maskq.batch.errors import NameTooLong, NotWritten

_OWN = ".maskq"
_PART = ".part"


class ResultFolder:
    """Paths in the folder. Images keep their sub-folders, and the ends of their names: `a.jpg` and `a.png` differ."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.own = path / _OWN
        """What only maskq reads."""
        self.journal = self.own / "journal.jsonl"
        self.lock = self.own / "lock"
        self.coco = path / "annotations.json"
        self.labelstudio = path / "labelstudio.json"
        self.failures = path / "failures.csv"
        self._masks = path / "masks"
        self._overlays = path / "overlays"

    def make(self) -> None:
        """Make the folder, unless it exists."""
        with written(self.own):
            self.own.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove all results, if a batch has written here."""
        if not self.journal.exists():
            return
        for folder in (self._masks, self._overlays):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.coco, self.labelstudio, self.failures, self.journal):
            file.unlink(missing_ok=True)

    def masks_of(self, name: str) -> Path:
        """The folder of the masks of one image, which have the numbers of the objects: `0.png`."""
        return self._masks / name

    def overlay_of(self, name: str) -> Path:
        """The image with its masks drawn over it."""
        return self._overlays / f"{name}.png"


def write_file(path: Path, content: bytes) -> None:
    """Write a file and its folders.

    Raises:
        NameTooLong: its name.
        NotWritten: the disk is full, or the like.
    """
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when all is written. Raises as `write_file`."""
    part = path.with_name(path.name + _PART)
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
        part.replace(path)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raises as `write_file`, where Python raises `OSError`."""
    try:
        yield
    except OSError as error:
        kind = NameTooLong if error.errno == errno.ENAMETOOLONG else NotWritten
        raise kind(f"{path} cannot be written: {error.strerror}") from error
