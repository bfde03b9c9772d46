"""Images as clients send them: a small JPEG, a PNG, and the JPEG of a phone."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from scenes.scene import HELD_OUT_SEEDS, draw_scene

_VARIANTS = 3
"""Different images of each kind. Nothing is kept of an image between jobs, so a few are enough."""
_TILE = 512
"""Side in pixels of the noise that a large image repeats, because random numbers take long."""


def images() -> Mapping[str, list[bytes]]:
    """Files by their kind: of about 10 kB, 80 kB and 3 MB."""
    return {
        "jpeg_224": [_file((224, 224), seed, noise=6.0, quality=87) for seed in range(_VARIANTS)],
        "png_640x480": [_file((640, 480), seed, noise=0.0, quality=0) for seed in range(_VARIANTS)],
        "jpeg_12_mp": [_file((4000, 3000), seed, noise=6.0, quality=91) for seed in range(_VARIANTS)],
    }


def _file(size: tuple[int, int], seed: int, *, noise: float, quality: int) -> bytes:
    """A drawn scene of this size with noise as of a sensor, whose standard deviation is `noise` of 255 levels. With
    quality 0 it is a PNG."""
    scene = Image.fromarray(draw_scene(HELD_OUT_SEEDS[seed]).image).resize(size, Image.Resampling.BICUBIC)
    tile = np.random.default_rng(seed).normal(0, noise, (_TILE, _TILE, 3)).astype(np.int16)
    width, height = size
    repeated = np.tile(tile, (-(-height // _TILE), -(-width // _TILE), 1))[:height, :width]
    picture = Image.fromarray((np.asarray(scene, np.int16) + repeated).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality) if quality else picture.save(file, "PNG")
    return file.getvalue()
