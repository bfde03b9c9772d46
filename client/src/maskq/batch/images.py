"""Which images a batch has, and the names that they have in its results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskq.batch.errors import BatchRefused

KINDS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif"})
"""Ends of names that files in folders must have to be taken. Files that are named themselves need none of them."""


@dataclass(frozen=True)
class ImageFile:
    """One image."""

    name: str
    """Its path relative to the root of the batch, with `/`. It never leads out of it."""
    size_bytes: int | None
    """None if the file cannot be read now."""
    mtime_ns: int | None


@dataclass(frozen=True)
class ImagePlan:
    """All images, each once, by name."""

    root: Path
    images: Sequence[ImageFile]


def plan_of(sources: Iterable[Path], out: Path) -> ImagePlan:
    """The images in folders (with their sub-folders) and files. Hidden ones and those in `out` are left out.

    Raises:
        BatchRefused: there are none, or a folder of images is that of the results.
    """
    paths = [_absolute(source) for source in sources]
    out = _absolute(out)
    if out in paths:
        raise BatchRefused(f"the results need a folder of their own, not that of the images: {out}")
    found = sorted({path for source in paths for path in _files(source, out)}, key=lambda path: path.parts)
    if not found:
        raise BatchRefused("there are no images here")
    root = _root(paths)
    return ImagePlan(root, [_image(path, root) for path in found])


def _absolute(path: Path) -> Path:
    """Without `..`, and with links as they are: names would lead out of the root otherwise."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` follows links


def _root(paths: Sequence[Path]) -> Path:
    """The folder that all names are relative to: the deepest one that has all images."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:  # drives of Windows
        raise BatchRefused(f"the images have no folder in common: {error}") from error


def _files(source: Path, out: Path) -> Iterator[Path]:
    if not source.is_dir():
        yield source
        return
    for folder, inner, names in os.walk(source):
        inner[:] = [name for name in inner if not name.startswith(".") and Path(folder, name) != out]
        yield from (path for name in names if _is_image(name) and not _is_special(path := Path(folder, name)))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in KINDS


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device: reading might never end. A link to nothing is none: it is named as a
    failure."""
    return path.exists() and not path.is_file()


def _image(path: Path, root: Path) -> ImageFile:
    name = path.relative_to(root).as_posix()
    try:
        status = path.stat()
    except OSError:
        return ImageFile(name, None, None)
    return ImageFile(name, status.st_size, status.st_mtime_ns)


def paths_in(text: str) -> list[Path]:
    """The paths in a list: one a line, or separated by NUL as `find -print0` writes them."""
    names = text.split("\0") if "\0" in text else text.splitlines()
    return [Path(name) for name in names if name.strip()]
