"""A part of a form with many images while it arrives: how much of it is kept in memory, and how much that takes."""

from __future__ import annotations

from api.http.request_memory import RequestMemory
from api.submission.form import MAX_FIELD_BYTES, Part
from api.submission.zip_images import BEGINNING_BYTES, is_zip
from shared.settings import COPIES, SubmissionSettings


class ArrivingPart:
    """A part of a form, as far as it has arrived. Of one that is too large, nothing is kept."""

    def __init__(self, part: Part, is_image: bool, limits: SubmissionSettings, memory: RequestMemory) -> None:
        self.part = part
        self.is_image = is_image
        self.max_bytes = limits.max_body_bytes if is_image else MAX_FIELD_BYTES
        self.size = 0
        """Bytes that have arrived."""
        self.kept_bytes = 0
        self._copies = COPIES
        self._limits = limits
        self._memory = memory

    @property
    def is_too_large(self) -> bool:
        return self.size > self.max_bytes

    def add(self, piece: bytes | bytearray) -> None:
        """Add what has arrived.

        Raises:
            ServerBusy, ShareExceeded: there is no memory for it.
        """
        if self.is_image and self.size < BEGINNING_BYTES:
            self._note_beginning(piece)
        self.size += len(piece)
        if self.is_too_large:
            self.part.pieces.clear()
            self.release()
        else:
            self._memory.take(COPIES * len(piece))
            self.kept_bytes += len(piece)
            self.part.pieces.append(piece)

    def _note_beginning(self, piece: bytes | bytearray) -> None:
        """A zip may be larger than an image. Its first bytes may come in several pieces."""
        if is_zip(b"".join([*self.part.pieces, piece[:BEGINNING_BYTES]])):
            self.max_bytes = self._limits.max_zip_bytes

    def release(self, copies_kept: int = 0) -> None:
        """It is in memory only so often from here on."""
        self._memory.release((self._copies - copies_kept) * self.kept_bytes)
        self._copies = copies_kept
