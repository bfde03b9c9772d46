"""Everything that people have as an image can be given, and what is none is refused with the reason."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
from maskq.errors import ImageError
from maskq.images import bare, listed, upload_of
from PIL import Image


def _pixels(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_a_path_is_read_and_keeps_its_name(photo: Path, png: bytes) -> None:
    for image in (photo, str(photo)):
        assert upload_of(image).part() == ("image_file", ("photo.png", png))


def test_bytes_of_any_kind_are_sent_as_they_are(png: bytes) -> None:
    for image in (png, bytearray(png), memoryview(png)):
        assert upload_of(image).content == png


def test_an_open_file_is_read_and_keeps_its_name(photo: Path, png: bytes) -> None:
    with photo.open("rb") as file:
        assert upload_of(file).part() == ("image_file", ("photo.png", png))
    assert upload_of(io.BytesIO(png)).part() == ("image_file", ("image", png))


@pytest.mark.parametrize("url", ["https://example.com/cat.jpg", "http://example.com", "HTTPS://EXAMPLE.COM/"])
def test_a_url_is_left_to_the_service(url: str) -> None:
    assert upload_of(url).part() == ("image_url", (None, url.encode()))


def test_a_data_url_is_sent_as_a_file(png: bytes) -> None:
    assert upload_of(f"data:image/png;base64,{base64.b64encode(png).decode()}").content == png
    assert upload_of(f"DATA:image/png,{quote_from_bytes(png)}").content == png


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "I;16B", "PA", "RGBa", "La"]
)
def test_a_pillow_image_of_any_mode_becomes_png(mode: str) -> None:
    upload = upload_of(Image.new(mode, (7, 5)))
    assert _pixels(upload.content).size == (7, 5)
    assert upload.part() == ("image_file", ("image.png", upload.content))


def test_a_pillow_image_keeps_the_name_of_its_file(photo: Path) -> None:
    with Image.open(photo) as picture:
        assert upload_of(picture).name == "photo.png"


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_an_array_becomes_png_with_the_same_pixels(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(np.asarray(_pixels(upload_of(array).content)), array.squeeze())


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Path("missing.png"), "missing.png"),
        ("missing.png", "missing.png"),
        ("a\0b", "null"),
        (".", "directory"),
        ("data:image/png;base64", "comma"),
        ("data:image/png;base64,?", "base64"),
        (io.StringIO("text"), "rb"),
        (np.zeros((4, 4)), "float64"),
        (np.zeros((4, 4, 2), np.uint8), "channels"),
        (np.zeros((0, 4), np.uint8), "height"),
        (Image.new("F", (4, 4)), "range"),
        (Image.new("I", (4, 4), 65_536), "65536"),
        (io.BytesIO(), "seek"),
        ("", "path"),
        ("ftp://example.com/cat.jpg", "ftp:"),
        ("file:///cat.jpg", "https:"),
        (17, "int"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(image: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        upload_of(image)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_damaged_pillow_image_is_refused_with_the_reason(kind: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, kind)
    with pytest.raises(ImageError, match="PNG"):
        upload_of(Image.open(io.BytesIO(file.getvalue()[:1000])))


def test_a_pillow_image_keeps_its_transparency_and_its_16_bits() -> None:
    seen_through = Image.new("RGBA", (4, 4), (200, 100, 50, 100))
    for mode in ("PA", "RGBa"):
        assert (
            _pixels(
                upload_of(
                    seen_through.convert("P").convert("PA") if mode == "PA" else seen_through.convert(mode)
                ).content
            ).mode
            == "RGBA"
        )
    assert _pixels(upload_of(Image.new("I", (4, 4), 40_000)).content).getextrema() == (40_000, 40_000)


@pytest.mark.parametrize("mode", ["I", "I;16"])
def test_pixels_without_metadata_keep_their_16_bits(mode: str) -> None:
    picture = Image.new(mode, (4, 4), 40_000)
    picture.info["exif"] = b"Exif"
    pixels = bare(picture)
    assert (pixels.getextrema(), pixels.info, picture.info) == ((40_000, 40_000), {}, {"exif": b"Exif"})
    assert bare(Image.new("CMYK", (4, 4))).mode == "RGB"


def test_one_image_is_not_taken_for_several(photo: Path) -> None:
    for one in (str(photo), photo, b"image"):
        with pytest.raises(TypeError, match="list"):
            listed(one)  # type: ignore[arg-type]


def test_a_name_that_is_no_unicode_can_be_sent(tmp_path: Path, png: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(png)
    assert upload_of(path).part() == ("image_file", ("?.png", png))
