"""The end of an image is found by walking its parts, whatever stands inside them or behind it."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image, ImageFile

from shared.errors import ImageTooLarge, ImageUnreadable, UnsupportedImage
from shared.images.decode import decode
from shared.images.inspect import inspect_image
from testing.pictures import encoded, gradient, png_chunk

_MANY = 65_000_000
_PNG = encoded(gradient())


def test_the_name_of_a_chunk_behind_the_end_of_a_png_is_not_read() -> None:
    assert inspect_image(_PNG + b"hello IDAT hello", _MANY).is_complete
    with_text = _PNG[:33] + png_chunk(b"tEXt", b"a\0IEND") + _PNG[33:]
    assert inspect_image(with_text, _MANY).is_complete
    assert not inspect_image(with_text[:-12], _MANY).is_complete


def test_a_png_of_many_color_profiles_is_refused() -> None:
    """A decoder unpacks each: 600 of 1 kB took 1.3 s."""
    profile = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000)))
    assert inspect_image(_PNG[:33] + profile + _PNG[33:], _MANY).width == 64
    with pytest.raises(ImageUnreadable, match="two chunks iCCP"):
        inspect_image(_PNG[:33] + profile * 600 + _PNG[33:], _MANY)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_a_seldom_used_compression_is_refused_by_name(order: str) -> None:
    entries = [(256, 3, 1, 64), (257, 3, 1, 48), (259, 3, 1, 34_887)]
    packed = b"".join(
        struct.pack(order + "HHI", *entry[:3]) + struct.pack(order + "HH", entry[3], 0) for entry in entries
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    with pytest.raises(UnsupportedImage, match="compression 34887"):
        inspect_image(head + packed, _MANY)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_the_first_page_of_a_tiff_is_read(compression: str) -> None:
    pages = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    data = encoded(pages[0], "TIFF", compression=compression, save_all=True, append_images=pages[1:])
    assert inspect_image(data, _MANY).width == 64
    assert decode(data, _MANY).image.getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=2)


def test_the_first_frame_of_a_gif_is_read_and_its_end_is_not_needed() -> None:
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert inspect_image(data[:-1], _MANY).is_complete
    assert decode(data, _MANY).image.getpixel((9, 9)) == (255, 0, 0)


def test_a_gif_whose_frame_is_larger_than_its_screen_is_measured_by_the_frame() -> None:
    gif = bytearray(encoded(gradient(64, 48, "P"), "GIF"))
    gif[6:10] = struct.pack("<HH", 1, 1)
    assert inspect_image(bytes(gif), _MANY).width == 64
    with pytest.raises(ImageTooLarge):
        inspect_image(bytes(gif), 1_000)


@pytest.mark.parametrize("bits", [1, 4, 8, 24, 32])
def test_a_bmp_of_any_depth_is_read_top_down_too(bits: int) -> None:
    row = (64 * bits + 31) // 32 * 4
    grey = [value * 255 // ((1 << bits) - 1) for value in range(1 << bits)] if bits <= 8 else []
    palette = b"".join(bytes([value, value, value, 0]) for value in grey)
    info = struct.pack("<IiiHHIIiiII", 40, 64, -48, 1, bits, 0, 0, 0, 0, 0, 0) + palette
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(info)) + info + bytes(row * 47) + b"\xff" * row
    header = inspect_image(data, _MANY)
    assert (header.width, header.height, header.is_complete) == (64, 48, True)
    assert not inspect_image(data[:-1], _MANY).is_complete
    picture = decode(data, _MANY).image
    assert (picture.getpixel((5, 0)), picture.getpixel((5, 47))) == ((0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize(("kind", "name"), [(4, "a JPEG in a BMP"), (5, "a PNG in a BMP")])
def test_an_image_in_a_bmp_is_refused_by_name(kind: int, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=name):
        inspect_image(b"BM" + struct.pack("<IHHIIiiHHI", 0, 0, 0, 54, 40, 64, 48, 1, 0, kind), _MANY)


@pytest.mark.parametrize(("bits", "sample"), [(32, 3), (32, 1), (16, 3)])
def test_colors_of_32_bits_or_of_fractions_are_refused_by_name(bits: int, sample: int) -> None:
    entries = [(256, 4, 1, 64), (257, 4, 1, 48), (258, 3, 2, bits | bits << 16), (339, 3, 2, sample | sample << 16)]
    tiff = b"II*\0" + struct.pack("<IH", 8, 4) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    with pytest.raises(UnsupportedImage, match="no integers of 8 or 16 bits"):
        inspect_image(tiff, _MANY)


@pytest.mark.parametrize(("mode", "white"), [("I;16", 65_535), ("I", 65_535), ("I", 255), ("F", 1.0)])
def test_grey_of_16_and_32_bits_is_scaled(mode: str, white: float) -> None:
    picture = Image.new(mode, (64, 48), white)
    picture.paste(0, (0, 0, 32, 48))
    decoded = decode(encoded(picture, "TIFF"), _MANY).image
    assert (decoded.getpixel((5, 5)), decoded.getpixel((60, 5))) == ((0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize("file_format", ["TIFF", "AVIF", "HEIC", "PNG", "WEBP"])
def test_alpha_is_blended_with_white_in_every_format_that_has_it(file_format: str) -> None:
    picture = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 32, 64))
    decoded = decode(encoded(picture, file_format), _MANY).image
    assert decoded.getpixel((5, 5)) == pytest.approx((255, 255, 255), abs=3)
    assert decoded.getpixel((60, 5)) == pytest.approx((200, 0, 0), abs=8)


@pytest.mark.parametrize("file_format", ["HEIC", "AVIF"])
def test_a_film_behind_a_heic_or_avif_is_not_read(file_format: str) -> None:
    whole = encoded(gradient(64, 64), file_format)
    film = struct.pack(">I4s", 5_008, b"mpvd") + bytes(5_000)
    for tail in (film, film[:-100], b"garbage"):
        assert inspect_image(whole + tail, _MANY).is_complete
        assert decode(whole + tail, _MANY).image.size == (64, 64)


def test_no_decoder_takes_short_files_by_itself() -> None:
    decode(encoded(gradient(), "JPEG")[:-2], _MANY)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
