"""A file that lacks its last bytes is taken with a note, one that lacks more than a few rows is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageUnreadable, MaskqError
from shared.images.decode import decode
from testing.pictures import encoded, gradient

_MANY = 65_000_000
_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")},
    "progressive JPEG": ("JPEG", {"progressive": True}),
    "JPEG with restart markers": ("JPEG", {"restart_marker_rows": 1}),
    "lossless WEBP": ("WEBP", {"lossless": True}),
}


@cache
def _photo() -> Image.Image:
    noise = np.random.default_rng(3).integers(0, 90, (480, 640, 3))
    return Image.fromarray((np.asarray(gradient(640, 480)) // 2 + noise).astype(np.uint8))


@cache
def _file(name: str) -> bytes:
    file_format, options = _OPTIONS[name]
    return encoded(_photo(), file_format, **options)


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("name", ["JPEG", "progressive JPEG", "JPEG with restart markers"])
def test_a_jpeg_without_its_end_is_taken_with_a_note(name: str, lost: int) -> None:
    picture = decode(_file(name)[:-lost], _MANY)
    assert (np.asarray(picture.image) == np.asarray(decode(_file(name), _MANY).image)).all()
    assert picture.notes == ("the file ends before the image does: no row of it is missing",)


@pytest.mark.parametrize("name", [name for name in _OPTIONS if name != "WEBP"])  # whose decoder refuses most cuts
def test_a_file_without_its_last_bytes_is_taken_and_the_note_counts_the_rows(name: str) -> None:
    lost = 10 if name == "lossless WEBP" else 200
    whole, cut = (np.asarray(decode(data, _MANY).image) for data in (_file(name), _file(name)[:-lost]))
    (note,) = decode(_file(name)[:-lost], _MANY).notes
    differing = np.flatnonzero((whole != cut).any(axis=(1, 2)))
    missing = int(note.split()[7]) if "rows of the image" in note else 0
    assert 0 < missing <= 18
    assert differing.size == 0 or differing[-1] - differing[0] + 1 <= missing


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", _OPTIONS)
def test_a_file_that_lacks_more_is_refused(name: str, share: float) -> None:
    with pytest.raises(ImageUnreadable):
        decode(_file(name)[: int(len(_file(name)) * share)], _MANY)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["JPEG", "JPEG with restart markers"])
def test_an_end_behind_a_cut_hides_nothing(name: str, share: float) -> None:
    """Decoders fill the rest with grey and call it a success."""
    with pytest.raises(ImageUnreadable, match="lacks"):
        decode(_file(name)[: int(len(_file(name)) * share)] + b"\xff\xd9", _MANY)


def test_a_complete_image_that_ends_in_grey_is_taken_without_a_note() -> None:
    grey = _photo().copy()
    grey.paste((128, 128, 128), (0, 240, 640, 480))
    for options in ({}, {"progressive": True}):
        assert decode(encoded(grey, "JPEG", **options), _MANY).notes == ()


def test_a_cut_image_that_would_end_in_grey_is_refused_all_the_same() -> None:
    grey = Image.new("RGB", (640, 480), (128, 128, 128))
    with pytest.raises(ImageUnreadable):
        decode(encoded(grey, "JPEG")[:-900], _MANY)


def test_a_progressive_jpeg_that_lacks_scans_is_refused() -> None:
    whole = encoded(gradient(640, 480), "JPEG", progressive=True)
    last_scan = whole.rindex(b"\xff\xc4")
    with pytest.raises(ImageUnreadable, match="detail"):
        decode(whole[:last_scan], _MANY)


def test_a_row_in_a_picture_without_depth_counts_as_any_other() -> None:
    """Where the palette has one color, the pixels that a file lacks look like the others."""
    flat = Image.new("P", (640, 480))
    with pytest.raises(ImageUnreadable):
        decode(encoded(flat, "BMP")[:-100_000], _MANY)


def test_a_turned_image_counts_the_rows_of_the_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(encoded(_photo(), "JPEG", exif=exif)[:-200], _MANY)
    assert (picture.width, picture.height) == (480, 640)
    assert "of 480 rows" in picture.notes[0]


@pytest.mark.parametrize("name", _OPTIONS)
def test_a_cut_anywhere_gives_a_picture_or_an_error_of_maskq(name: str) -> None:
    file_format, options = _OPTIONS[name]
    whole = encoded(gradient(64, 48), file_format, **options)
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        try:
            picture = decode(whole[:length], _MANY)
        except MaskqError:
            continue
        assert picture.notes or name in ("GIF", "PNG")  # which do not need the last bytes of the file


@pytest.mark.parametrize("file_format", ["WEBP", "AVIF"])
def test_a_short_file_that_no_decoder_takes_is_said_to_be_short(file_format: str) -> None:
    whole = encoded(gradient(320, 240), file_format)
    with pytest.raises(ImageUnreadable, match="the file ends before the image does"):
        decode(whole[: len(whole) * 95 // 100], 1_000_000)
