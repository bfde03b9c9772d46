"""Memory that a worker shares with one job process, for the pixels of images on their way to the device.

It is a file without a name, so nothing is left of it when both have ended, however they ended.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence

import numpy as np

from shared.domain.tiles import MAX_TILES
from worker.model import Pixels

_CHANNELS = 3


class PixelMemory:
    """A number of slots, each for one image."""

    def __init__(self, file: int, side: int, slots: int) -> None:
        """Map a file that `memory_file` has made."""
        mapped = mmap.mmap(file, _bytes(side, slots))
        self._images = np.frombuffer(mapped, np.uint8).reshape(slots, side, side, _CHANNELS)

    def read(self, slot: int) -> Pixels:
        """The image in a slot, without a copy."""
        image: Pixels = self._images[slot]
        return image

    def write(self, slot: int, pixels: Pixels) -> None:
        """Put an image into a slot."""
        self._images[slot] = pixels


class FreeSlots:
    """The slots that are free: never too few, if there are `needed_slots`. Thread-safe. The one that was freed last is
    used first, so that few have memory."""

    def __init__(self, slots: int) -> None:
        self._free = list(range(slots))

    def take(self, count: int) -> list[int]:
        """Take so many slots."""
        return [self._free.pop() for _ in range(count)]

    def release(self, slots: Sequence[int]) -> None:
        """Free these slots."""
        self._free.extend(slots)


def needed_slots(jobs: int, tiled_jobs: int) -> int:
    """How many slots so many jobs need at most, of which so many may have tiles."""
    return jobs + MAX_TILES * tiled_jobs


def memory_file(side: int, slots: int) -> int:
    """The descriptor of a new file for so many images. It takes memory only for the slots that were written."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("maskq-pixels")
    else:
        with tempfile.TemporaryFile() as unnamed:
            file = os.dup(unnamed.fileno())
    os.ftruncate(file, _bytes(side, slots))
    return file


def _bytes(side: int, slots: int) -> int:
    return slots * side * side * _CHANNELS
