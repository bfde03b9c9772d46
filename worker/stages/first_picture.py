"""A picture that is decoded before the first job, so that no job waits for the start of a child process."""

from __future__ import annotations

import io

from PIL import Image

from shared.images.sandbox import DecodingPool


def first_picture(decoders: DecodingPool, side: int) -> Image.Image:
    """Start a child process that decodes images, and have it decode a black one of `side` pixels.

    Raises:
        OSError: the child could not start.
    """
    picture = io.BytesIO()
    Image.new("RGB", (side, side)).save(picture, "JPEG")
    return decoders.decode(picture.getvalue(), (side, side)).image
