"""Image files that end before the image does: how much of the picture they lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile

from shared.errors import ImageUnreadable
from shared.images.headers.header import ImageHeader
from shared.images.headers.jpeg import end_of_image, has_all_scans
from shared.images.loading import DAMAGED, load, open_image

_MAX_TAIL_BYTES = 4_000_000
_MAX_PIXELS = 25_000_000
"""Of formats that cannot be reduced while they are decoded: two pictures are in memory."""
_END_OF_JPEG = b"\xff\xd9"
_JPEG_FILLER = {(value, value) for value in (127, 128)}
"""The least and greatest value of a row of a JPEG that is not in the file: decoders make it grey."""
_MIN_ROWS = 18
"""The last bytes of a JPEG carry a row of blocks, which is 16 rows of pixels, and two more are mixed with those."""


def load_short(
    data: bytes, header: ImageHeader, max_pixels: int, size: tuple[int, int] | None
) -> tuple[Image.Image, int]:
    """Load a short file, and count the rows that it lacks. `size` is that of `load`.

    The file is decoded twice, with different bytes behind its end and different values for the pixels that it lacks.
    Where the two pictures differ, the file says nothing.

    Raises:
        ImageUnreadable: it lacks more than a few rows, or its format cannot be decoded in part.
    """
    if header.format != "JPEG" and header.width * header.height > _MAX_PIXELS:
        raise ImageUnreadable("the file ends before the image does")
    if header.format == "JPEG":
        if not header.is_complete and not has_all_scans(data):
            raise ImageUnreadable("the file ends before the image does: it lacks detail everywhere")
        data = data[: end_of_image(data)]
    first, second = (_loaded(data + tail, header, max_pixels, size, filler) for tail, filler in _ends(header.format))
    missing = -(-_rows_that_differ(first, second) * header.height // first.height)
    if missing > min(max(_MIN_ROWS, header.height // 100), header.height // 10):
        raise ImageUnreadable(f"the file ends before the image does: it lacks {missing} of {header.height} rows")
    return first, missing


def ends_in_filler(jpeg: Image.Image) -> bool:
    """Whether the last row may be one that the file lacks, although it has an end: programs append one to cut files."""
    bands = jpeg.crop((0, jpeg.height - 1, jpeg.width, jpeg.height)).getextrema()
    return set(bands if isinstance(bands[0], tuple) else (bands,)) <= _JPEG_FILLER


def _loaded(
    data: bytes, header: ImageHeader, max_pixels: int, size: tuple[int, int] | None, filler: int
) -> Image.Image:
    image = open_image(data, header.format, max_pixels)
    with _taking_short_files():
        load(image, size, filler, "the file ends before the image does" if not header.is_complete else DAMAGED)
    return image


def _ends(file_format: str) -> Iterator[tuple[bytes, int]]:
    """Two ends for a file, each with a value for pixels that the file lacks."""
    for pattern, filler in ((b"\0\0", 0), (b"\x55\xaa", 255)):
        tail = pattern * (_MAX_TAIL_BYTES // len(pattern))
        if file_format == "PNG":  # its decoder refuses any data that was not packed
            yield b"", filler
        elif file_format == "JPEG":
            yield (b"\0" + tail if filler else b"") + _END_OF_JPEG, filler  # 0 follows each 0xFF, also that of a cut
        else:
            yield tail, filler


def _rows_that_differ(first: Image.Image, second: Image.Image) -> int:
    """The number of rows from the first to the last that differ."""
    rows = ((0, row, first.width, row + 1) for row in range(first.height))
    differing = [box[1] for box in rows if first.crop(box).tobytes() != second.crop(box).tobytes()]
    return differing[-1] - differing[0] + 1 if differing else 0


@contextmanager
def _taking_short_files() -> Iterator[None]:
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
