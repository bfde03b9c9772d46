"""What a header says about its image."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import ImageUnreadable


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image."""

    format: str
    """One of `shared.settings.several_processes.IMAGE_FORMATS`."""
    width: int
    """In pixels as stored, before EXIF rotation."""
    height: int
    """In pixels as stored, before EXIF rotation."""
    is_complete: bool = True
    """False: the file ends before the image does. Decoding shows whether anything that can be seen is missing."""


def damaged(what: str) -> ImageUnreadable:
    """The error for a header that contradicts its format."""
    return ImageUnreadable(f"the image's header is damaged: {what}")


def too_many_parts() -> ImageUnreadable:
    """The error for a header that is longer than any program writes."""
    return ImageUnreadable("the image's header has too many parts")
