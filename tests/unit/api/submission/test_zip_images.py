"""Zips of images: what is read of them, and what is refused before it takes memory or time."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from api.submission.zip_images import ZipImages, is_zip
from shared.errors import InvalidField, MalformedRequest, MaskqError, PayloadTooLarge, UnsupportedImage

_MAX_BYTES = 5_000_000


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return made.getvalue()


def opened(content: bytes, max_images: int = 10) -> ZipImages:
    return ZipImages(content, max_images, _MAX_BYTES)


def read_all(content: bytes) -> dict[str, bytes]:
    archive = opened(content)
    for file in archive.files:
        archive.require_readable(file)
    return {file.filename: archive.read(file) for file in archive.files}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_are_read_in_their_order(method: int) -> None:
    files = [("b.png", b"b" * 5_000), ("a/a.png", b"a"), ("../../c.png", b"c")]
    content = zipped(*files, method=method)
    assert is_zip(content)
    assert list(read_all(content).items()) == files


def test_folders_and_what_desktops_add_are_ignored() -> None:
    names = ["a/", "__MACOSX/._a.png", ".DS_Store", "a/.hidden.png", ".git/a.png", "a/a.png", "__MACOSX\\b.png"]
    assert list(read_all(zipped(*((name, b"x") for name in names)))) == ["a/a.png"]


def _encrypted() -> bytes:
    content = bytearray(zipped(("a.png", b"a")))
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


def _with_wrong_checksum() -> bytes:
    content = bytearray(zipped(("a.png", b"abc"), method=zipfile.ZIP_STORED))
    content[content.index(b"abc")] ^= 1
    return bytes(content)


def _with_wrong_size() -> bytes:
    """The directory says less than the file is."""
    content = bytearray(zipped(("a.png", bytes(100_000))))
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "error", "detail"),
    [
        (_encrypted(), UnsupportedImage, "encrypted"),
        (zipped(("a.png", b"a"), method=zipfile.ZIP_BZIP2), UnsupportedImage, "than deflate"),
        (zipped(("a.png", b"a"), method=zipfile.ZIP_LZMA), UnsupportedImage, "than deflate"),
        (zipped(("a.png", bytes(4_000_000))), UnsupportedImage, "more than 200 times"),
        (zipped(("a.png", bytes(_MAX_BYTES + 1))), PayloadTooLarge, "5,000,001 bytes; at most 5,000,000"),
        (zipped(("a.zip", zipped(("a.png", b"a")))), UnsupportedImage, "a zip in a zip"),
        (_with_wrong_checksum(), UnsupportedImage, "damaged"),
        (_with_wrong_size(), UnsupportedImage, "damaged"),
    ],
    ids=["encrypted", "bzip2", "lzma", "bomb", "too large", "zip in a zip", "wrong checksum", "wrong size"],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    content: bytes, error: type[MaskqError], detail: str
) -> None:
    with pytest.raises(error, match=detail):
        read_all(content)


def test_a_plain_drawing_is_no_bomb() -> None:
    assert read_all(zipped(("a.bmp", bytes(900_000))))


def test_files_that_overlap_are_refused() -> None:
    """One piece of data that many names share would be read as often."""
    content = zipped(*((f"{number}.png", bytes(100)) for number in range(5)), method=zipfile.ZIP_STORED)
    entries = bytearray(content)
    first = entries.index(b"PK\x01\x02")
    position = first
    while (position := entries.find(b"PK\x01\x02", position)) != -1:
        struct.pack_into("<I", entries, position + 20, 1_000)
        position += 4
    with pytest.raises(MalformedRequest, match="overlap"):
        opened(bytes(entries))


def test_too_many_images_are_refused() -> None:
    with pytest.raises(InvalidField, match="has 11 images; at most 10"):
        opened(zipped(*((f"{number}.png", b"a") for number in range(11))))


def test_a_large_directory_is_refused_before_it_is_read() -> None:
    content = zipped(*((f"{number}/", b"") for number in range(25_000)))
    with pytest.raises(MalformedRequest, match="directory of the zip"):
        opened(content)


@pytest.mark.parametrize("cut", [1, 10, 30, 100])
def test_a_damaged_zip_is_refused(cut: int) -> None:
    with pytest.raises(MalformedRequest, match="damaged"):
        opened(zipped(("a.png", bytes(1_000)))[:-cut])


def test_any_changed_byte_leads_to_an_error_of_ours_or_to_none() -> None:
    content = zipped(("a.png", b"abcdef" * 20), ("b.png", b"x"))
    for position in range(len(content)):
        for value in (0, 0xFF, content[position] ^ 0x80):
            changed = content[:position] + bytes([value]) + content[position + 1 :]
            try:
                read_all(changed)
            except MaskqError:
                continue


def test_a_name_that_is_not_in_its_encoding_is_said() -> None:
    content = bytearray(zipped(("aaaa.png", b"a")).replace(b"aaaa", b"\xff\xfeaa"))
    content[content.find(b"PK\1\2") + 9] |= 8  # says that the name is in UTF-8
    with pytest.raises(MalformedRequest) as refused:
        opened(bytes(content))
    assert "not in UTF-8" in refused.value.detail
