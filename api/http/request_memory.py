"""What one request takes of the memory that a process has for images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from starlette.requests import HTTPConnection

from api.shares import Shares


class RequestMemory:
    """The memory of one request: its body, the image that it fetches, a large answer. Counted for its caller."""

    def __init__(self, room: Shares) -> None:
        """`room` is the memory of the process, in bytes."""
        self._room = room
        self._held_bytes = 0
        self.client = ""
        """Whom it counts for; empty until the caller is known."""
        self.share = 1
        """The weight of this client."""

    def count_for(self, client: str, share: int) -> None:
        """Count for this client from now on."""
        self.free()
        self.client, self.share = client, share

    def take(self, size: int) -> None:
        """Use `size` more bytes, until `free`.

        Raises:
            ServerBusy: the memory is used up.
            ShareExceeded: this client would use more than its share.
        """
        self._room.take(self.client, size, self.share)
        self._held_bytes += size

    def release(self, size: int) -> None:
        """Use `size` bytes less, or nothing if that is less."""
        if released := min(size, self._held_bytes):
            self._room.free(self.client, released)
            self._held_bytes -= released

    @contextmanager
    def returned(self) -> Iterator[None]:
        """What is taken in this block is free again at its end."""
        before = self._held_bytes
        try:
            yield
        finally:
            self.release(max(0, self._held_bytes - before))

    def free(self) -> None:
        """Nothing of the request is in memory any longer."""
        if self._held_bytes:
            self._room.free(self.client, self._held_bytes)
            self._held_bytes = 0


def memory_of(request: HTTPConnection) -> RequestMemory:
    """The memory of a request. `BodyLimit` makes it."""
    return cast(RequestMemory, request.state.memory)
