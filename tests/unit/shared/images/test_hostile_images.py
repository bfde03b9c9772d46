"""Images made to mislead, to fill memory, or to be two formats at once. Each is decoded, or refused with an error."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.errors import ImageTooLarge, ImageUnreadable, MaskqError, UnsupportedImage
from shared.images.decode import decode
from shared.images.inspect import inspect_image
from shared.settings.several_processes import IMAGE_FORMATS
from testing.pictures import encoded, exif_with_orientation, flat_png, gradient, png_chunk, png_file

_MANY = 25_000_000
_PNG = encoded(gradient(64, 48))
_JPEG = encoded(gradient(64, 48), "JPEG", quality=95)
_WEBP = encoded(gradient(64, 48), "WEBP", lossless=True)
_RGB_8_BIT = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)


def _after_header(png: bytes, *chunks: bytes) -> bytes:
    """Insert chunks after IHDR, which ends at byte 33."""
    return png[:33] + b"".join(chunks) + png[33:]


def _segments(jpeg: bytes, marker: int, head: bytes, data: bytes) -> bytes:
    """A JPEG with `data` split into segments, each beginning with `head`."""
    size = 65_533 - len(head)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    packed = [struct.pack(">BBH", 0xFF, marker, len(part) + len(head) + 2) + head + part for part in parts]
    return jpeg[:2] + b"".join(packed) + jpeg[2:]


def _animated_webp_header(width: int, height: int) -> bytes:
    """A WebP with a canvas of this size and a frame of one pixel."""
    still = encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    frame = b"\0" * 12 + b"\0\0\0\0" + still
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0"
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


# --- Neither JPEG, PNG nor WebP ---------------------------------------------------------------------------------------

_OTHERS: dict[str, bytes] = {
    **{name: encoded(gradient(), name) for name in ("PPM", "ICO", "JPEG2000", "PDF", "EPS", "TGA")},
    "PDF before a JPEG": b"%PDF-1.7\n" + _JPEG,
    "one byte before a PNG": b"\0" + _PNG,
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n",
}


@pytest.mark.parametrize("name", _OTHERS)
def test_other_formats_are_refused_by_their_bytes(name: str) -> None:
    with pytest.raises(UnsupportedImage):
        inspect_image(_OTHERS[name], _MANY)


@pytest.mark.parametrize("name", IMAGE_FORMATS)
@pytest.mark.parametrize("other", IMAGE_FORMATS)
def test_the_head_of_one_format_before_another_gives_no_picture(name: str, other: str) -> None:
    head, picture = encoded(gradient(), name)[:16], encoded(gradient(), other)
    with suppress(MaskqError):
        assert decode(head + picture, _MANY).image.size == (64, 48)


@pytest.mark.parametrize("picture", [encoded(gradient(), name) for name in IMAGE_FORMATS], ids=IMAGE_FORMATS)
@pytest.mark.parametrize("tail", [b"PK\x03\x04" + bytes(50), b"<script>alert(1)</script>", b"%PDF-1.7", _JPEG])
def test_bytes_after_an_image_are_ignored(picture: bytes, tail: bytes) -> None:
    assert (np.asarray(decode(picture + tail, _MANY).image) == np.asarray(decode(picture, _MANY).image)).all()


# --- Bombs and false sizes --------------------------------------------------------------------------------------------

_TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "a bomb of 1 bit": lambda: encoded(Image.new("1", (14_000, 14_000))),
    "a bomb that is only a header": lambda: png_file(struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0)),
    "a very wide image": lambda: png_file(struct.pack(">IIBBBBB", 2**31 - 1, 1, 8, 6, 0, 0, 0)),
    "one row too many": lambda: encoded(Image.new("1", (5000, 5001))),
    "a jpeg that claims 65500 x 65500": lambda: _with_jpeg_size(_JPEG, 65_500, 65_500),
    "a webp of 16383 x 16383": lambda: encoded(Image.new("RGB", (16_383, 1600)), "WEBP", lossless=True, method=0),
}


@pytest.mark.parametrize("name", _TOO_LARGE)
def test_too_many_pixels_are_refused_without_decoding(name: str) -> None:
    with pytest.raises(ImageTooLarge):
        inspect_image(_TOO_LARGE[name](), _MANY)


def test_exactly_as_many_pixels_as_allowed_are_accepted() -> None:
    assert inspect_image(encoded(Image.new("1", (5000, 5000))), _MANY).width == 5000


def _with_jpeg_size(jpeg: bytes, width: int, height: int) -> bytes:
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


_FALSE_SIZES: dict[str, bytes] = {
    "png larger than its data": png_file(
        struct.pack(">IIBBBBB", 640, 480, 8, 2, 0, 0, 0), rows=_PNG[33 : _PNG.index(b"IEND") - 4]
    ),
    "png without data": png_file(_RGB_8_BIT),
    "png with empty data": png_file(_RGB_8_BIT, rows=png_chunk(b"IDAT", zlib.compress(b""))),
    "png with data that is not packed": png_file(_RGB_8_BIT, rows=png_chunk(b"IDAT", b"hello" * 99)),
    "png of no width": png_file(struct.pack(">IIBBBBB", 0, 48, 8, 2, 0, 0, 0)),
    "png of an unknown kind": png_file(struct.pack(">IIBBBBB", 64, 48, 7, 5, 0, 0, 0)),
    "png whose first chunk is longer than the file": _after_header(_PNG, b"\x7f\xff\xff\xfftEXt"),
    "jpeg of no height": _with_jpeg_size(_JPEG, 64, 0),
    "jpeg without a scan": _JPEG[: _JPEG.index(b"\xff\xda")] + b"\xff\xd9",
    "webp with a canvas other than its frame": _WEBP[:20] + b"\x2f\xff\xff\xff\xff" + _WEBP[25:],
    "webp that is a header only": _WEBP[:30],
    "webp with an animation on an endless canvas": _animated_webp_header(60_000, 60_000),
}


@pytest.mark.parametrize("name", _FALSE_SIZES)
def test_an_image_with_a_false_size_is_refused(name: str) -> None:
    with pytest.raises((ImageUnreadable, UnsupportedImage, ImageTooLarge)):
        decode(_FALSE_SIZES[name], _MANY)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_image_with_a_false_end_gives_an_error_or_an_image(file_format: str, share: float) -> None:
    """No row that is not in the file passes without a note, although decoders fill it with grey or black."""
    whole = encoded(gradient(300, 200), file_format)
    cut = (
        whole[: int(len(whole) * share)]
        + {"PNG": png_chunk(b"IEND", b""), "JPEG": b"\xff\xd9", "WEBP": b""}[file_format]
    )
    with suppress(ImageUnreadable):
        assert decode(cut, _MANY).notes


# --- Kinds of pixels --------------------------------------------------------------------------------------------------


def _of_mode(mode: str, file_format: str) -> bytes:
    return encoded(gradient(mode=mode), file_format)


_PNG_TYPES = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]
_KINDS: dict[str, Callable[[], bytes]] = {
    **{f"png {mode}": partial(_of_mode, mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    **{f"jpeg {mode}": partial(_of_mode, mode, "JPEG") for mode in ("L", "RGB", "CMYK")},
    **{f"webp {mode}": partial(_of_mode, mode, "WEBP") for mode in ("RGB", "RGBA")},
    **{
        f"png of type {color_type} with {depth} bits{' interlaced' if interlaced else ''}": partial(
            flat_png, 64, 48, depth=depth, color_type=color_type, interlaced=interlaced
        )
        for (color_type, depth), interlaced in itertools.product(_PNG_TYPES, [False, True])
    },
    "jpeg progressive": lambda: encoded(gradient(), "JPEG", progressive=True),
}


@pytest.mark.parametrize("name", _KINDS)
def test_every_kind_of_pixels_becomes_rgb(name: str) -> None:
    picture = decode(_KINDS[name](), _MANY).image
    assert (picture.mode, picture.size) == ("RGB", (64, 48))


def test_ycck_is_read_like_cmyk() -> None:
    """Adobe's marker with transform 2 says that the first three channels are YCbCr of inverted CMY."""
    cmyk = encoded(gradient(mode="CMYK"), "JPEG", quality=95)
    adobe = cmyk.index(b"Adobe")
    ycck = cmyk[: adobe + 11] + b"\x02" + cmyk[adobe + 12 :]
    assert decode(ycck, _MANY).image.mode == "RGB"
    assert (np.asarray(decode(ycck, _MANY).image) != np.asarray(decode(cmyk, _MANY).image)).any()


def test_a_transparent_color_is_white() -> None:
    palette = Image.new("P", (8, 8), 3)
    palette.putpalette([200, 0, 0] * 256)
    assert np.asarray(decode(encoded(palette, transparency=3), _MANY).image).min() == 255
    assert decode(encoded(palette), _MANY).image.getpixel((0, 0)) == (200, 0, 0)
    keyed = encoded(Image.new("RGB", (8, 8), (9, 8, 7)), transparency=(9, 8, 7))
    assert np.asarray(decode(keyed, _MANY).image).min() == 255


@pytest.mark.parametrize("alpha", [0, 1, 100, 254, 255])
def test_alpha_is_blended_with_white(alpha: int) -> None:
    picture = decode(encoded(Image.new("RGBA", (4, 4), (10, 100, 200, alpha))), _MANY).image
    expected = [255 + (value - 255) * alpha / 255 for value in (10, 100, 200)]
    assert picture.getpixel((1, 1)) == pytest.approx(expected, abs=1)


def test_sixteen_bit_white_stays_white() -> None:
    white = Image.fromarray(np.full((8, 8), 65_535, np.uint16))
    assert np.asarray(decode(encoded(white), _MANY).image).min() == 255


# --- Metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_every_orientation_is_applied_in_every_format(file_format: str, orientation: int) -> None:
    corners = Image.new("RGB", (64, 48), "black")
    corners.paste("red", (0, 0, 16, 16))
    data = encoded(corners, file_format, exif=exif_with_orientation(orientation))
    upright = decode(data, _MANY).image
    assert upright.size == ((64, 48) if orientation < 5 else (48, 64))
    right, bottom = upright.width - 4, upright.height - 4
    places = {1: (4, 4), 2: (right, 4), 3: (right, bottom), 4: (4, bottom)}
    places |= {5: (4, 4), 6: (right, 4), 7: (right, bottom), 8: (4, bottom)}
    assert upright.getpixel(places[orientation]) == pytest.approx((254, 0, 0), abs=8)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_invalid_orientation_is_ignored(orientation: int) -> None:
    data = encoded(gradient(64, 48), "JPEG", exif=exif_with_orientation(orientation))
    assert decode(data, _MANY).image.size == (64, 48)


_TIFF_HEAD = b"Exif\0\0MM\0\x2a\0\0\0\x08"
_BROKEN_EXIF: dict[str, bytes] = {
    "nothing": b"Exif\0\0",
    "noise": b"Exif\0\0" + bytes(range(256)),
    "an orientation that is text": _TIFF_HEAD + struct.pack(">HHHI4sI", 1, 0x0112, 2, 4, b"six\0", 0),
    "an orientation with a million values": _TIFF_HEAD + struct.pack(">HHHIII", 1, 0x0112, 3, 10**6, 8, 0),
    "more entries than bytes": _TIFF_HEAD + struct.pack(">H", 65_535),
    "a directory that contains itself": _TIFF_HEAD + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8),
    "false sizes": _TIFF_HEAD + struct.pack(">HHHIIHHIII", 2, 0x0100, 4, 1, 9_999, 0x0101, 4, 1, 9_999, 0),
}


@pytest.mark.parametrize("name", _BROKEN_EXIF)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_broken_or_false_exif_does_not_prevent_decoding(file_format: str, name: str) -> None:
    data = encoded(gradient(64, 48), file_format, exif=_BROKEN_EXIF[name])
    assert decode(data, _MANY).image.size == (64, 48)
    assert inspect_image(data, _MANY).width == 64


def test_the_first_image_of_several_is_used() -> None:
    red, blue = (Image.new("RGB", (16, 16), color) for color in ("red", "blue"))
    apng = encoded(red, "PNG", save_all=True, append_images=[blue])
    mpo = encoded(red, "MPO", save_all=True, append_images=[blue])
    for data in (apng, mpo):
        assert decode(data, _MANY).image.getpixel((8, 8)) == pytest.approx((254, 0, 0), abs=2)
    assert inspect_image(mpo, _MANY).format == "JPEG"  # phones write several pictures into a .jpg
    assert inspect_image(mpo[:-20], _MANY).is_complete


_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_EXIF_HEAD = b"Exif\0\0MM\0\x2a\0\0\0\x08"
_HEAVY: dict[str, Callable[[], bytes]] = {
    "iTXt bomb": lambda: _after_header(_PNG, png_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(300_000_000)))),
    "zTXt bomb": lambda: _after_header(_PNG, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(300_000_000)))),
    "iCCP bomb": lambda: _after_header(_PNG, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(300_000_000)))),
    "many bombs": lambda: _after_header(_PNG, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000))) * 2_000),
    "a million chunks": lambda: _after_header(_PNG, png_chunk(b"tEXt", b"a\0b") * 1_000_000),
    "jpeg with 15 MB of exif": lambda: _segments(_JPEG, 0xE1, _EXIF_HEAD, bytes(15_000_000)),
    "jpeg with exif in 50,000 parts": lambda: _segments(
        _JPEG[:2] + b"\xff\xe1\0\x08Exif\0\0" * 50_000 + _JPEG[2:],
        0xE1,
        _EXIF_HEAD,
        bytes(15_000_000),
    ),
    "jpeg with exif of 65,535 entries": lambda: _segments(
        _JPEG, 0xE1, b"", b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff" + struct.pack(">HHII", 9, 4, 1, 1) * 5_400
    ),
    "jpeg with 490 frames": lambda: _segments(
        _JPEG[:2] + _JPEG[_JPEG.index(b"\xff\xc0") :][:19] * 490 + _JPEG[2:],
        0xE2,
        b"ICC_PROFILE\0\1\1",
        bytes(15_000_000),
    ),
    "progressive jpeg of escapes": lambda: encoded(gradient(), "JPEG", progressive=True)[:-2] + b"\xff\0" * 10_000_000,
    "jpeg of escapes": lambda: _JPEG[:-2] + b"\xff\0" * 10_000_000,
    "600 color profiles": lambda: _after_header(
        _PNG, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000))) * 600
    ),
    "gif of 10 million blocks": lambda: encoded(gradient(mode="P"), "GIF")[:900] + b"\1a" * 10_000_000,
    "heic of 2 million boxes": lambda: encoded(gradient(), "HEIC")[:32] + b"\0\0\0\x08free" * 2_000_000,
    "tiff of 60,000 entries": lambda: (
        b"II*\0" + struct.pack("<IH", 8, 60_000) + struct.pack("<HHII", 273, 4, 60_000, 8) * 60_000
    ),
    "jpeg with 15 MB between its segments": lambda: _JPEG[:2] + b"\xff\x01" + bytes(15_000_000) + _JPEG[2:],
    "jpeg with 15 MB of padding": lambda: _JPEG[:2] + b"\xff" * 15_000_000 + _JPEG[2:],
    "webp with an endless canvas": lambda: _animated_webp_header(60_000, 60_000),
    "webp with a large canvas": lambda: _animated_webp_header(16_000, 16_000),
    "25 megapixels": lambda: flat_png(5_000, 5_000, depth=16, color_type=6),
}
_INSPECT = """
import pathlib, sys, time
from shared.errors import MaskqError
from shared.images.inspect import inspect_image

def peak_mb():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024

inspect_image(pathlib.Path(sys.argv[2]).read_bytes(), 25_000_000)
data = pathlib.Path(sys.argv[1]).read_bytes()
before, begin = peak_mb(), time.process_time()
try:
    inspect_image(data, 25_000_000)
except MaskqError:
    pass
print(peak_mb() - before, time.process_time() - begin)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", _HEAVY)
def test_inspecting_any_image_takes_little_memory_and_time(name: str, tmp_path: Path, root: Path) -> None:
    """The front end inspects every upload."""
    (tmp_path / "heavy").write_bytes(_HEAVY[name]())
    (tmp_path / "light").write_bytes(_PNG)
    command = [sys.executable, "-c", _INSPECT, str(tmp_path / "heavy"), str(tmp_path / "light")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    megabytes, cpu_s = map(float, done.stdout.split())
    assert megabytes < 40
    assert cpu_s < 0.3  # on a busy machine; 35 ms at most on an idle one


_METADATA: dict[str, bytes] = {
    "jpeg with 15 MB of profile": _segments(_JPEG, 0xE2, b"ICC_PROFILE\0\1\1", bytes(15_000_000)),
    "jpeg with 15 MB of comments": _segments(_JPEG, 0xFE, b"", bytes(15_000_000)),
    "jpeg with 15 MB of depth map": _segments(_JPEG, 0xE1, b"http://ns.adobe.com/xmp/extension/\0", bytes(15_000_000)),
    "jpeg with a film behind it": _JPEG + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40_000,
    "png with 15 MB of text": _after_header(_PNG, png_chunk(b"tEXt", b"a\0" + b"b" * 900_000) * 16),
}


@pytest.mark.parametrize("name", _METADATA)
def test_an_image_with_much_metadata_is_accepted(name: str) -> None:
    data = _METADATA[name]
    assert inspect_image(data, _MANY).width == 64
    assert decode(data, _MANY).image.size == (64, 48)


def test_a_png_is_inspected_without_decoding_it() -> None:
    damaged = _PNG[:60] + bytes(20) + _PNG[80:]
    assert inspect_image(damaged, _MANY).width == 64
    with pytest.raises(ImageUnreadable):
        decode(damaged, _MANY)


def test_a_color_profile_is_ignored() -> None:
    with_profile = encoded(gradient(64, 48), "PNG", icc_profile=_PROFILE)
    assert (np.asarray(decode(with_profile, _MANY).image) == np.asarray(gradient(64, 48))).all()


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_damaged_headers_raise_only_errors_of_maskq(file_format: str) -> None:
    whole = encoded(gradient(64, 48), file_format, exif=exif_with_orientation(6))
    random = np.random.default_rng(1)
    for _ in range(1_000):
        damaged = bytearray(whole)
        for position in random.integers(0, min(len(whole), 200), 4):
            damaged[position] = random.integers(0, 256)
        with suppress(MaskqError):
            inspect_image(bytes(damaged), _MANY)
