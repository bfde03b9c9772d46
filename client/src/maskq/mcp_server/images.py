"""Which images an agent may name: URLs, and files below the folders that the user allowed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from maskq.errors import ImageError

_MAX_BYTES = 64 * 1024**2
"""Of a file that is read. Services accept less."""
_URL_SCHEMES = ("http://", "https://", "data:")
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""A named pipe does not stop the server. Windows has none."""


class NamedImages:
    """Reads the images that an agent names."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """
        Args:
            folders: files below these may be read, with links followed. Relative paths begin at the first. None: no
                file may be read.
        """
        self._folders = [folder.resolve() for folder in folders]

    def read(self, image: str) -> str | bytes:
        """What the client takes as an image: the URL itself, or the bytes of the file.

        Raises:
            ImageError: the file is not below an allowed folder, or cannot be read. The message is the same for a file
                that does not exist and one that may not be read.
        """
        return image if image.lower().startswith(_URL_SCHEMES) else self._file(image)

    def _file(self, name: str) -> bytes:
        if not self._folders:
            raise ImageError("this server reads no files: give an http, https or data: URL")
        try:
            path = (self._folders[0] / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a link to itself; a zero byte
            raise self._unreadable(name) from error
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise self._unreadable(name)
        try:
            return _regular_file(path)
        except OSError as error:
            raise self._unreadable(name) from error

    def _unreadable(self, name: str) -> ImageError:
        allowed = ", ".join(map(str, self._folders))
        return ImageError(f"{name!r} is no image file below the allowed folders ({allowed})")


def _regular_file(path: Path) -> bytes:
    """The content of a file that is neither a folder, nor a pipe, nor a device, nor a link made since the check."""
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError("not a regular file")
        if about.st_size > _MAX_BYTES:
            raise ImageError(f"{path.name} has more than {_MAX_BYTES // 1024**2} MiB")
        return file.read(_MAX_BYTES)
