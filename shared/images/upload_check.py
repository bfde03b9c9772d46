"""Checks an uploaded image before its job is accepted."""

from __future__ import annotations

from threading import BoundedSemaphore

from shared.images.inspect import inspect_image
from shared.images.sandbox import DecodingPool
from shared.settings import ImageSettings


class UploadCheck:
    """Refuses images that the workers could not decode, as far as that is cheap to know. Thread-safe."""

    def __init__(self, settings: ImageSettings, decoders: DecodingPool) -> None:
        self._settings = settings
        self._decoders = decoders
        self._trials = BoundedSemaphore(max(1, settings.decode_processes // 2))

    def check(self, image: bytes) -> None:
        """Inspect an image, and decode it only if the file ends before the image does. This takes up to a second or so.

        If too many such files come at once, the later ones are left to the workers: their jobs fail.

        Raises:
            UnsupportedImage, ImageTooLarge: by its header.
            ImageUnreadable: by its header, or because more than a few rows are missing.
        """
        header = inspect_image(image, self._settings.max_image_pixels, self._settings.accepted_formats)
        if not header.is_complete and self._trials.acquire(blocking=False):
            try:
                self._decoders.decode(image, (1, 1))
            finally:
                self._trials.release()
