"""A refusal names what was sent."""

from __future__ import annotations

import base64
import struct

import pytest

from shared.errors import UnsupportedImage
from shared.images.formats import identify
from shared.images.inspect import inspect_image
from testing.pictures import encoded, gradient

_NAMES: dict[str, bytes] = {
    "a PDF": b"%PDF-1.7\n",
    "an SVG drawing": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "an HTML page, not an image": b"\xef\xbb\xbf\r\n<!DOCTYPE HTML><title>404</title>",
    "an XML document": b"<Error><Code>AccessDenied</Code></Error>",
    "a JSON document": b'{"error": "not found"}',
    "a text": "https://example.com/Bär.jpg".encode(),
    "a data: URL as text": b"data:image/png;base64,iVBORw0KGgo=",
    "an empty file": b"",
    "a video (MP4)": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(50),
    "a video (QuickTime)": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(50),
    "a video (Matroska or WebM)": b"\x1aE\xdf\xa3" + bytes(50),
    "a video (AVI)": b"RIFF\x24\0\0\0AVI LIST",
    "a sound file (WAV)": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt ",
    "JPEG XL": b"\xff\x0a" + bytes(50),
    "JPEG 2000": encoded(gradient(), "JPEG2000"),
    "an icon (ICO)": encoded(gradient(), "ICO"),
    "a PNM image": encoded(gradient(), "PPM"),
    "a Photoshop file": b"8BPS\0\1" + bytes(50),
    "a ZIP archive": b"PK\x03\x04" + bytes(50),
    "a raw photo (CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(50),
    "a raw photo (CR3)": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(50),
    "a DICOM file": bytes(128) + b"DICM" + bytes(50),
    "a sound file (M4A)": b"\0\0\0\x18ftypM4A \0\0\0\0mp42isom" + bytes(50),
    "a NumPy array": b"\x93NUMPY\1\0" + bytes(50),
    "a GIMP file": b"gimp xcf v011\0" + bytes(50),
    "a video (FLV)": b"FLV\1\5" + bytes(50),
    "a Git LFS pointer, not the file itself": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n",
    "base64 as text": base64.encodebytes(encoded(gradient(), "JPEG")),
    "not an image that is known here": bytes(100),
}


@pytest.mark.parametrize("name", _NAMES)
def test_what_is_no_image_is_named(name: str) -> None:
    with pytest.raises(UnsupportedImage) as refusal:
        inspect_image(_NAMES[name], 1_000_000)
    assert refusal.value.detail == f"this is {name}; send JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_an_image_that_was_handled_as_a_text_is_named(file_format: str) -> None:
    whole = encoded(gradient(), file_format)
    for changed in (whole.decode("utf-8", "replace").encode(), whole.decode("latin-1").encode()):
        assert identify(changed) == "an image that a program has changed as if it were a text"
    assert identify(encoded(gradient()).replace(b"\r\n", b"\n")).startswith("an image that a program has changed")


@pytest.mark.parametrize("header", [b"P6 4 3 255\n", b"P5\r\n4 3 255\n", b"P3\n"])
def test_a_pnm_is_known_by_any_space(header: bytes) -> None:
    assert identify(header) == "a PNM image"


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_a_heic_is_known_by_any_of_its_brands(brand: bytes) -> None:
    assert identify(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic") == "HEIC"
    assert identify(b"\0\0\0\x1cftypmif1\0\0\0\0miafavif" + brand) == "AVIF"


def test_a_raw_photo_in_a_tiff_is_not_taken_for_its_small_preview() -> None:
    for tag, value in ((254, 1), (262, 32_803), (262, 34_892)):
        entry = struct.pack("<HHII", tag, 4, 1, value)
        with pytest.raises(UnsupportedImage, match="raw photo"):
            inspect_image(b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4), 1_000_000)
