"""What clients upload."""

from __future__ import annotations

import io
import os
from functools import cache

from PIL import Image

PHOTO_BYTES = 100_000


@cache
def small_png() -> bytes:
    """20 x 10 pixels."""
    return _png(Image.new("RGB", (20, 10)))


def photo_sized_png() -> bytes:
    """About `PHOTO_BYTES` of noise, which does not compress; another one each time."""
    side = int((PHOTO_BYTES / 3) ** 0.5)
    return _png(Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
