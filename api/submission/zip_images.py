"""The images in a zip, which is in memory: read one at a time, with limits. No name in it is ever used on a disk."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

from shared.errors import InvalidField, MalformedRequest, PayloadTooLarge, UnsupportedImage

ZIP_TYPES = ("application/zip", "application/x-zip-compressed")
_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
BEGINNING_BYTES = 4
"""By which a zip is recognized."""
_MAX_DIRECTORY_BYTES = 2**20
"""Of the list of all files in a zip. As objects it takes some 15 times as much."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The decoders of the others have no bound on what one step makes."""
_MAX_RATIO = 200
"""A file that was compressed more than this is no picture of anything. Drawings as BMP come to about 100."""
_FREE_BYTES = 1_000_000
"""What a file may have beside that, so that small ones are not measured."""
_IGNORED = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


def is_zip(content: bytes) -> bool:
    """Whether a file is a zip by its first bytes."""
    return content.startswith(_BEGINNINGS)


class ZipImages:
    """The files in a zip that may be images, in the order of its directory. Opening and reading may take some 100 ms,
    so do both in a thread."""

    def __init__(self, content: bytes, max_images: int, max_image_bytes: int) -> None:
        """Read the directory of a zip.

        Raises:
            MalformedRequest: it is damaged, its directory is too large, or files overlap.
            InvalidField: it has more than `max_images` images.
        """
        file = _DirectoryFile(content)
        try:
            self._archive = zipfile.ZipFile(file)
        except UnicodeDecodeError as error:
            raise MalformedRequest("a file name in the zip is not in UTF-8, although the zip says so") from error
        except _DAMAGED as error:
            raise MalformedRequest("the zip is damaged, or is no zip") from error
        file.is_open = True
        self._max_image_bytes = max_image_bytes
        self.files: Sequence[zipfile.ZipInfo] = [each for each in self._archive.infolist() if not _is_ignored(each)]
        if len(self.files) > max_images:
            raise InvalidField(f"the zip has {len(self.files):,} images; at most {max_images:,} are allowed")
        if sum(each.compress_size for each in self._archive.infolist()) > len(content):
            raise MalformedRequest("files in the zip overlap")

    def require_readable(self, file: zipfile.ZipInfo) -> None:
        """Check what the directory says of a file.

        Raises:
            UnsupportedImage: it is encrypted, or compressed in another way than deflate or too much.
            PayloadTooLarge: it has more than `max_image_bytes`.
        """
        if file.flag_bits & 1:
            raise UnsupportedImage("it is encrypted in the zip; send a zip without a password")
        if file.compress_type not in _METHODS:
            raise UnsupportedImage("the zip compresses it in another way than deflate")
        if file.file_size > self._max_image_bytes:
            raise PayloadTooLarge(
                f"the image has {file.file_size:,} bytes; at most {self._max_image_bytes:,} are allowed"
            )
        if file.file_size > _MAX_RATIO * file.compress_size + _FREE_BYTES:
            raise UnsupportedImage(f"the zip compresses it more than {_MAX_RATIO} times, which no picture allows")

    def read(self, file: zipfile.ZipInfo) -> bytes:
        """A file of at most as many bytes as the directory says.

        Raises:
            UnsupportedImage: it is damaged, or a zip itself.
        """
        try:
            with self._archive.open(file) as opened:
                content = opened.read(file.file_size)
                opened.read(1)  # its checksum is compared at its end
        except _DAMAGED as error:
            raise UnsupportedImage("it is damaged in the zip") from error
        if is_zip(content):
            raise UnsupportedImage("it is a zip in a zip; send one zip with all images")
        return content


class _DirectoryFile(io.BytesIO):
    """A zip as a file. Until it is open only its directory is read, at once."""

    is_open = False

    def read(self, size: int | None = -1, /) -> bytes:
        left = len(self.getbuffer()) - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if not self.is_open and wanted > _MAX_DIRECTORY_BYTES:
            raise MalformedRequest(f"the directory of the zip has more than {_MAX_DIRECTORY_BYTES:,} bytes")
        return super().read(size)


def _is_ignored(file: zipfile.ZipInfo) -> bool:
    """Folders, and what desktops add: `__MACOSX`, `.DS_Store`."""
    names = file.filename.replace("\\", "/").split("/")
    return not names[-1] or any(name in _IGNORED or (name.startswith(".") and name.strip(".")) for name in names)
