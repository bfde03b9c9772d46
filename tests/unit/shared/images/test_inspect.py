from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageFile

from shared.errors import ImageTooLarge, MaskqError, UnsupportedImage
from shared.images.decode import decode
from shared.images.headers.header import ImageHeader
from shared.images.inspect import inspect_image
from shared.settings.several_processes import IMAGE_FORMATS
from testing.pictures import encoded, gradient

_MANY = 25_000_000


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_accepted_formats_are_recognized_by_their_bytes(file_format: str) -> None:
    assert inspect_image(encoded(gradient(64, 64), file_format), _MANY) == ImageHeader(file_format, 64, 64)


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_the_size_is_that_which_the_decoder_finds(file_format: str) -> None:
    data = encoded(gradient(320, 128), file_format)
    header, picture = inspect_image(data, _MANY), decode(data, _MANY)
    assert (header.width, header.height) == picture.image.size == (320, 128)


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_a_format_can_be_left_out(file_format: str) -> None:
    others = [name for name in IMAGE_FORMATS if name != file_format]
    data = encoded(gradient(), file_format)
    with pytest.raises(UnsupportedImage, match=f"this is {file_format}, which this deployment does not accept; send "):
        inspect_image(data, _MANY, others)
    assert inspect_image(data, _MANY, [file_format]).format == file_format


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_an_image_is_inspected_without_being_decoded(monkeypatch: pytest.MonkeyPatch, file_format: str) -> None:
    image = encoded(gradient(64, 48), file_format)

    def load(_: ImageFile.ImageFile) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert inspect_image(image, _MANY).width == 64


@pytest.mark.parametrize("file_format", ["PPM", "ICO", "JPEG2000", "PDF"])
def test_other_formats_are_refused(file_format: str) -> None:
    with pytest.raises(UnsupportedImage):
        inspect_image(encoded(gradient(), file_format), _MANY)


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am a text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x00" * 100]
)
def test_bytes_that_are_not_an_image_are_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        inspect_image(data, _MANY)


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    with pytest.raises(ImageTooLarge, match="6000 x 5000"):
        inspect_image(encoded(Image.new("1", (6000, 5000))), _MANY)


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_seen_without_decoding_it(file_format: str, share: float) -> None:
    whole = encoded(gradient(300, 200), file_format)
    assert not inspect_image(whole[: int(len(whole) * share)], _MANY).is_complete
    assert inspect_image(whole + whole[: len(whole) // 2], _MANY).is_complete


def test_a_jpeg_truncated_after_its_thumbnail_is_not_complete() -> None:
    thumbnail = encoded(gradient(32, 24), "JPEG")
    whole = encoded(gradient(300, 200), "JPEG", exif=b"Exif\x00\x00" + thumbnail)
    assert inspect_image(whole, _MANY).is_complete
    assert not inspect_image(whole[:-200], _MANY).is_complete


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_damaged_data_gives_an_error_or_an_image_but_no_crash(file_format: str) -> None:
    whole = encoded(gradient(64, 48), file_format)
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 8):
            damaged[position] = random.integers(0, 256)
        with suppress(MaskqError):
            assert decode(bytes(damaged), _MANY).image.mode == "RGB"


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    rgb = np.asarray(decode(encoded(Image.fromarray(grey)), _MANY).image)
    assert np.abs(rgb[..., 0].astype(int) - np.round(grey / 257).astype(int)).max() <= 1
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_transparent_pixels_are_white() -> None:
    picture = gradient(mode="RGBA")
    picture.putalpha(0)
    assert np.asarray(decode(encoded(picture), _MANY).image).min() == 255


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode_of_png_becomes_rgb(mode: str) -> None:
    assert decode(encoded(gradient(64, 48, mode)), _MANY).image.mode == "RGB"


def test_cmyk_becomes_rgb() -> None:
    upright = decode(encoded(gradient(mode="CMYK"), "JPEG", quality=95), _MANY).image
    assert np.abs(np.asarray(upright).astype(int) - np.asarray(gradient()).astype(int)).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_in_exif_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(64, 48), "PNG", exif=exif)
    upright = decode(data, _MANY).image
    assert upright.size == ((64, 48) if orientation < 5 else (48, 64))
    corner = {1: (0, 0), 2: (63, 0), 3: (63, 47), 4: (0, 47), 5: (0, 0), 6: (0, 47), 7: (63, 47), 8: (63, 0)}
    assert upright.getpixel((0, 0)) == gradient(64, 48).getpixel(corner[orientation])


def test_the_first_frame_of_an_animation_is_used() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data, _MANY).image.getpixel((8, 8)) == (255, 0, 0)
