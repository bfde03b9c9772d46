"""The end of a JPEG is found by walking its segments, whatever stands inside them or behind it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageUnreadable, UnsupportedImage
from shared.images.decode import decode
from shared.images.headers.header import ImageHeader
from shared.images.headers.jpeg import read_jpeg
from testing.pictures import encoded, gradient, scan_bomb

_MANY = 65_000_000
_KINDS: dict[str, bytes] = {
    "baseline": encoded(gradient(300, 200), "JPEG"),
    "progressive": encoded(gradient(300, 200), "JPEG", progressive=True),
    "grey": encoded(gradient(300, 200, "L"), "JPEG"),
    "cmyk": encoded(gradient(300, 200, "CMYK"), "JPEG"),
    "with restart markers": encoded(gradient(300, 200), "JPEG", restart_marker_blocks=2),
    "progressive with restart markers": encoded(gradient(300, 200), "JPEG", progressive=True, restart_marker_blocks=2),
}
_FILM = b"\0\0\0\x18ftypmp42" + np.random.default_rng(7).bytes(300_000)
_TAILS: dict[str, bytes] = {
    "a film": _FILM,
    "a start of scan": b"\0\xff\xda\0\x0c",
    "a start of scan at once": b"\xff\xda",
    "an end": b"\xff\xd9",
    "zeros": bytes(5_000),
    "padding": b"\xff" * 5_000,
    "half a jpeg": _KINDS["progressive"][:2_000],
    "a jpeg": _KINDS["baseline"],
}


def _with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


@pytest.mark.parametrize("tail", _TAILS)
@pytest.mark.parametrize("kind", _KINDS)
def test_an_image_is_complete_whatever_stands_behind_its_end(kind: str, tail: str) -> None:
    data = _KINDS[kind] + _TAILS[tail]
    assert read_jpeg(data) == ImageHeader("JPEG", 300, 200, is_complete=True)
    assert (np.asarray(decode(data, _MANY).image) == np.asarray(decode(_KINDS[kind], _MANY).image)).all()


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("lost", [1, 2, 10, 1_000])
def test_an_image_without_its_end_is_not_complete_although_its_segments_have_markers(kind: str, lost: int) -> None:
    misleading = _segment(0xE1, b"Exif\0\0" + _KINDS["baseline"]), _segment(0xFE, b"\xff\xd9\xff\xda" * 99)
    data = _with_segments(_KINDS[kind], *misleading)
    assert read_jpeg(data).is_complete
    assert not read_jpeg(data[:-lost]).is_complete


def test_markers_in_segments_between_scans_are_not_read() -> None:
    whole = _KINDS["progressive"]
    second_scan = whole.index(b"\xff\xda", whole.index(b"\xff\xda") + 2)
    tables = whole.rindex(b"\xff\xc4", 0, second_scan)
    data = whole[:tables] + _segment(0xFE, b"\xff\xd9" * 99) + whole[tables:]
    assert read_jpeg(data).is_complete
    assert not read_jpeg(data[:-2]).is_complete


def test_padding_may_stand_before_every_marker() -> None:
    padded = _KINDS["baseline"].replace(b"\xff\xdb", b"\xff\xff\xff\xdb").replace(b"\xff\xd9", b"\xff\xff\xff\xd9")
    assert read_jpeg(padded).is_complete
    assert read_jpeg(b"\xff\xd8" + b"\xff" * 10_000_000 + _KINDS["baseline"][2:]).is_complete


@pytest.mark.parametrize("scans", [100, 2_000])
def test_an_image_of_many_scans_is_refused(scans: int) -> None:
    """One of 100 scans of 25 megapixels took 2 s to decode, one of 2,000 half a minute."""
    with pytest.raises(ImageUnreadable, match="too long to decode: it has"):
        read_jpeg(scan_bomb(scans))


def test_a_small_image_may_have_more_scans_than_encoders_write() -> None:
    whole = _KINDS["progressive"]
    last = whole[whole.rindex(b"\xff\xc4") : -2]
    assert read_jpeg(whole[:-2] + last * 50 + whole[-2:]).is_complete


_REFUSED: dict[str, Callable[[bytes], bytes]] = {
    "two frames": lambda whole: _with_segments(whole, whole[whole.index(b"\xff\xc0") : whole.index(b"\xff\xc4")]),
    "490 frames": lambda whole: _with_segments(whole, *[whole[whole.index(b"\xff\xc0") :][:19]] * 490),
    "a scan before the frame": lambda whole: _with_segments(whole, _segment(0xDA, bytes(10))),
    "no scan": lambda whole: whole[: whole.index(b"\xff\xda")],
    "bytes between segments": lambda whole: _with_segments(whole, b"hello"),
    "10,000 segments": lambda whole: _with_segments(whole, *[_segment(0xFE, b"")] * 10_000),
    "no height": lambda whole: whole.replace(struct.pack(">HH", 200, 300), struct.pack(">HH", 0, 300)),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_a_damaged_header_is_refused(name: str) -> None:
    with pytest.raises(ImageUnreadable):
        read_jpeg(_REFUSED[name](_KINDS["baseline"]))


def test_samples_of_12_bits_are_refused_by_name() -> None:
    whole = _KINDS["baseline"]
    frame = whole.index(b"\xff\xc0")
    with pytest.raises(UnsupportedImage, match="12 bits"):
        read_jpeg(whole[: frame + 4] + b"\x0c" + whole[frame + 5 :])


def test_a_flat_progressive_image_of_many_pixels_is_read() -> None:
    """Its scans consist of little else than 0xFF and 0."""
    assert read_jpeg(encoded(Image.new("CMYK", (6000, 4000)), "JPEG", progressive=True)).is_complete


@pytest.mark.parametrize(("marker", "name"), [(0xC5, "hierarchical"), (0xCF, "hierarchical"), (0xF7, "JPEG-LS")])
def test_a_kind_of_jpeg_that_is_not_decoded_is_refused_by_name(marker: int, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=name):
        read_jpeg(_KINDS["baseline"].replace(b"\xff\xc0", bytes([0xFF, marker]), 1))
