"""What a caller may give as an image, and what is sent for it."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, Union, cast
from urllib.parse import unquote_to_bytes

from maskq.errors import ImageError
from maskq.packages import require

if TYPE_CHECKING:
    import numpy
    import numpy.typing
    import PIL.Image

T = TypeVar("T")
ImageInput = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, "PIL.Image.Image", "numpy.typing.NDArray[Any]"
]
"""A path; a URL, `data:` too; the bytes of a file; an open file; a Pillow image; an array of uint8 as [height, width],
[height, width, 3] (RGB) or [height, width, 4] (RGBA)."""

Part = tuple[str, tuple[str | None, bytes]]
"""A part of a form: its field, the name of the file (None: the part is a text), and the content."""
_UNNAMED = "image"
_PNG_LEVEL = 1
"""How hard Pillow tries to make a small PNG. 1 takes much less time than the default, for somewhat more bytes."""
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""Modes of Pillow that PNG has."""
_WITH_ALPHA = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""What modes with transparency become, so that it is not lost."""
_MAX_16_BIT = 65_535


@dataclass(frozen=True)
class Upload:
    """What is sent: a file, or a URL that the service fetches."""

    content: bytes = b""
    name: str = _UNNAMED
    url: str = ""

    def part(self, name: str | None = None) -> Part:
        """The part of the form that carries it: its field, the name of the file, and the content. The file has another
        name if one is given; a URL has none."""
        if self.url:
            return "image_url", (None, sendable(self.url).encode())
        return "image_file", (sendable(name or self.name), self.content)


def upload_of(image: ImageInput) -> Upload:
    """Read an image. Files are read whole; arrays and Pillow images become PNG.

    Raises:
        ImageError: it cannot be read, has nothing in it, or is nothing of the kind.
        MissingPackage: an array was given, and Pillow is not installed.
    """
    if isinstance(image, str):
        return _from_text(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return Upload(bytes(image))
    if isinstance(image, os.PathLike):
        return _from_path(Path(image))
    if hasattr(image, "read"):
        return _from_file(cast(BinaryIO, image))
    if hasattr(image, "save") and hasattr(image, "mode"):  # first: pictures have an array interface too, a slow one
        return _from_picture(cast("PIL.Image.Image", image))
    if hasattr(image, "__array_interface__"):
        return _from_array(image)
    raise ImageError(f"an image is a path, a URL, bytes, a file, a Pillow image or an array, not {_kind(image)}")


def _from_text(text: str) -> Upload:
    scheme = text[:8].lower()
    if scheme.startswith(("http://", "https://")):
        return Upload(url=text)
    if scheme.startswith("data:"):
        return Upload(_from_data_url(text))
    if not text or "://" in text:
        raise ImageError(f"the image is no path and no URL that begins with https: or data:, but {text!r}")
    return _from_path(Path(text))


def _from_data_url(url: str) -> bytes:
    head, comma, data = url.partition(",")
    content = unquote_to_bytes(data)
    if not comma:
        raise ImageError("a data: URL has a comma before its data")
    if not head.lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ImageError(f"the data: URL is no base64: {error}") from error


def _from_path(path: Path) -> Upload:
    try:
        return Upload(path.read_bytes(), path.name)
    except (OSError, ValueError) as error:
        raise ImageError(f"the image cannot be read: {error}") from error


def _from_file(file: BinaryIO) -> Upload:
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"the image cannot be read: {error}") from error
    if not isinstance(content, bytes):
        raise ImageError("the file is open as text: open it with mode 'rb'")
    if not content:
        raise ImageError("the file has nothing more to read: after writing to it, call seek(0)")
    name = getattr(file, "name", None)
    return Upload(content, Path(name).name if isinstance(name, str) else _UNNAMED)


def _from_array(array: numpy.typing.NDArray[Any]) -> Upload:
    pixels = require("numpy", "images").asarray(array)
    if str(pixels.dtype) != "uint8":
        raise ImageError(f"an array has pixels of uint8, from 0 to 255, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ImageError(f"an array is [height, width], with 3 or 4 channels behind them or none, not {pixels.shape}")
    return _from_picture(require("PIL.Image", "images").fromarray(pixels))


def _from_picture(picture: PIL.Image.Image) -> Upload:
    file = io.BytesIO()
    try:
        _as_png_has_it(picture).save(file, "PNG", compress_level=_PNG_LEVEL)
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: Pillow reads a damaged PNG
        raise ImageError(f"the image cannot be written as PNG: {error}") from error
    name = getattr(picture, "filename", "")
    return Upload(file.getvalue(), f"{Path(name).stem}.png" if isinstance(name, str) and name else f"{_UNNAMED}.png")


def _as_png_has_it(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The picture in a mode that PNG has. Numbers are not cut off without a word."""
    mode = picture.mode
    if mode in _MODES:
        return picture
    if mode == "F":
        raise ImageError("a picture of mode F has no range of values: scale it to 0 to 255, and convert it to L")
    if mode.startswith("I"):
        numbers = picture if mode == "I" else picture.convert("I")
        low, high = cast("tuple[float, float]", numbers.getextrema())
        if low < 0 or high > _MAX_16_BIT:
            raise ImageError(f"a picture of mode {mode} has values from 0 to {_MAX_16_BIT}, not from {low} to {high}")
        return numbers.convert("I;16")
    return picture.convert(_WITH_ALPHA.get(mode, "RGB"))


def bare(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The pixels without metadata, such as an orientation: RGB, or 16 bits of grey if there are more than 8.

    Raises:
        ImageError: as `upload_of`.
    """
    pixels = _as_png_has_it(picture).copy() if picture.mode.startswith("I") else picture.convert("RGB")
    pixels.info = {}
    return pixels


def listed(images: Iterable[T]) -> Iterator[T]:
    """The images one by one.

    Raises:
        TypeError: one image was given instead of several. A text would be taken for as many paths as it has letters.
    """
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike)):
        raise TypeError(f"several images are a list of them, or Path(...).glob('*.jpg'), not one {_kind(images)}")
    return iter(images)


def sendable(text: str) -> str:
    """The text as Unicode. Names of files may have bytes that are none: they become `?`."""
    return text.encode("utf-8", "replace").decode()


def _kind(value: object) -> str:
    return type(value).__name__
