"""Photos of phones with 48 and 50 megapixels are reduced while they are decoded."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared.images import loading
from shared.images.decode import decode
from testing.pictures import encoded, exif_with_orientation, gradient

_MANY = 65_000_000


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("size", [(8064, 6048), (8160, 6120)])
def test_a_photo_of_a_phone_is_decoded_in_reduced_scale(size: tuple[int, int], options: dict[str, object]) -> None:
    picture = decode(encoded(Image.new("RGB", size, "red"), "JPEG", **options), _MANY, (448, 448))
    assert (picture.width, picture.height) == size
    assert 896 <= min(picture.image.size) < 1800


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_reduced_image_looks_like_one_that_is_not(
    file_format: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(gradient(1203, 801), file_format, exif=exif_with_orientation(orientation))
    exact = decode(data, _MANY, (90, 70))
    monkeypatch.setattr(loading, "_EXACT_PIXELS", 500_000)
    reduced = decode(data, _MANY, (90, 70))
    assert (reduced.width, reduced.height) == (exact.width, exact.height) == exact.image.size
    assert min(reduced.image.size) < min(exact.image.size) / 2
    scaled = [
        np.asarray(each.image.resize((90, 70), Image.Resampling.BICUBIC)).astype(int) for each in (exact, reduced)
    ]
    assert np.abs(scaled[0] - scaled[1]).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_pixels_is_reduced(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_EXACT_PIXELS", 10_000)
    picture = decode(encoded(gradient(640, 480).convert(mode) if mode != "I;16" else _grey16(), "PNG"), _MANY, (60, 60))
    assert (picture.image.mode, picture.image.size) == ("RGB", (160, 120))


def _grey16() -> Image.Image:
    return Image.fromarray((np.arange(640 * 480).reshape(480, 640) % 65_536).astype(np.uint16))


@pytest.mark.parametrize("size", [(224, 224), (448, 448), (448, 40), (900, 900)])
@pytest.mark.parametrize("shape", [(2000, 1200), (1200, 2000), (4000, 1000), (2448, 3264)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_jpeg_has_twice_the_pixels_of_its_result_in_each_direction(
    shape: tuple[int, int], size: tuple[int, int], mode: str
) -> None:
    picture = decode(encoded(Image.new(mode, shape), "JPEG"), _MANY, size)
    assert (picture.width, picture.height) == shape
    assert picture.image.mode == "RGB"
    ratio = min(shape) / (2 * max(size))
    scale = max(factor for factor in (1, 2, 4, 8) if factor == 1 or factor <= ratio)
    assert picture.image.size == tuple(-(-side // scale) for side in shape)


@pytest.mark.parametrize("shape", [(2000, 1000), (1600, 1200)])
def test_a_jpeg_of_up_to_2_megapixels_is_decoded_in_full(shape: tuple[int, int]) -> None:
    assert decode(encoded(Image.new("RGB", shape), "JPEG"), _MANY, (64, 64)).image.size == shape


def test_a_jpeg_of_a_camera_is_decoded_in_full_if_that_is_asked_for() -> None:
    data = encoded(Image.new("RGB", (4000, 3000)), "JPEG")
    assert decode(data, _MANY, (224, 224)).image.size == (1000, 750)
    assert decode(data, _MANY, (224, 224), is_exact=True).image.size == (4000, 3000)


def test_a_photo_that_would_take_too_much_memory_is_reduced_always() -> None:
    data = encoded(Image.new("L", (8000, 4000)), "JPEG")
    assert decode(data, _MANY, (224, 224), is_exact=True).image.size == (1000, 500)


@pytest.mark.parametrize("kept", [0.995, 0.9995])
def test_a_short_photo_says_the_same_whether_it_is_reduced_or_not(kept: float) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (1300, 1700, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    cut = data[: round(len(data) * kept)]
    exact, reduced = (decode(cut, _MANY, (60, 60), is_exact=is_exact) for is_exact in (True, False))
    assert (exact.notes, exact.width, exact.height) == (reduced.notes, reduced.width, reduced.height)
    assert "rows of the image are missing" in exact.notes[0]


def test_a_short_reduced_image_counts_rows_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_EXACT_PIXELS", 100_000)
    noise = np.random.default_rng(5).integers(0, 255, (800, 1200, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    picture = decode(data[:-300], _MANY, (60, 60))
    assert picture.image.size == (300, 200)
    assert "of 800 rows" in picture.notes[0]
