"""The formats of image files: which are accepted, and what other files are called in a refusal."""

from __future__ import annotations

import re

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"},
    "a raw photo (CR3)": {b"crx "},
    "a sound file (M4A)": {b"M4A ", b"M4B "},
    "a video (QuickTime)": {b"qt  "},
}
"""Brands in the first box of an ISO base media file, the most specific first. All others are those of videos."""
_OTHERS = {
    b"%PDF-": "a PDF",
    b"%!PS": "a PostScript file",
    b"8BPS": "a Photoshop file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"II\xbc\x01": "JPEG XR",
    b"\0\0\1\0": "an icon (ICO)",
    b"\x1aE\xdf\xa3": "a video (Matroska or WebM)",
    b"\0\0\1\xba": "a video (MPEG)",
    b"ID3": "a sound file (MP3)",
    b"OggS": "an Ogg file",
    b"fLaC": "a sound file (FLAC)",
    b"\0\0\2\0": "a cursor (CUR)",
    b"icns": "an icon (ICNS)",
    b"gimp xcf": "a GIMP file",
    b"DDS ": "a DDS texture",
    b"#?RADIANCE": "a Radiance HDR image",
    b"\xc5\xd0\xd3\xc6": "a PostScript file",
    b"\xd7\xcd\xc6\x9a": "a drawing (WMF)",
    b"FLV\1": "a video (FLV)",
    b"\x30\x26\xb2\x75": "a video (WMV)",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"IIRO": "a raw photo (ORF)",
    b"IIRS": "a raw photo (ORF)",
    b"MMOR": "a raw photo (ORF)",
    b"FOVb": "a raw photo (X3F)",
    b"IIU\0": "a raw photo (RW2)",
    b"FUJIFILMCCD-RAW": "a raw photo (RAF)",
    b"v/1\x01": "an OpenEXR image",
    b"qoif": "a QOI image",
    **{b"P%d%c" % (kind, space): "a PNM image" for kind in range(1, 8) for space in b" \t\r\n"},
    b"SIMPLE  =": "a FITS image",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
_MANGLED = (
    b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
    b"\xef\xbf\xbdPNG",
    b"\xc3\xbf\xc3\x98",
    b"\xc2\x89PNG",
    b"\x89PNG",
)
"""Beginnings of a JPEG and a PNG that a program has read as UTF-8 or Latin-1, or whose line ends it has replaced."""
_RIFF = {b"AVI ": "a video (AVI)", b"WAVE": "a sound file (WAV)"}
_TEXTS = {
    rb"<svg[\s>]": "an SVG drawing",
    rb"<!doctype html|<html[\s>]|<head[\s>]|<body[\s>]": "an HTML page, not an image",
    rb"\A\s*<\?xml|\A\s*<": "an XML document",
    rb"\A\s*[\[{]": "a JSON document",
    rb"\Adata:": "a data: URL as text",
    rb"\Aversion https://git-lfs": "a Git LFS pointer, not the file itself",
    rb"\A(/9j/|ivborw0kggo|r0lgodlh|uklgr)[a-z0-9+/=\s]*\Z": "base64 as text",
}
_TEXT_HEAD_BYTES = 1024


def identify(data: bytes) -> str:
    """One of `IMAGE_FORMATS`, or else what a person calls such a file: `a PDF`. Reads only the first bytes."""
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return "a raw photo (CR2)" if name == "TIFF" and data[8:10] == b"CR" else name
    if data[:4] == b"RIFF":
        return "WEBP" if data[8:12] == b"WEBP" else _RIFF.get(data[8:12], "a RIFF file")
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data.startswith(_MANGLED):
        return "an image that a program has changed as if it were a text"
    return next((name for start, name in _OTHERS.items() if data.startswith(start)), None) or _text(data)


def _by_brand(data: bytes) -> str:
    end = min(int.from_bytes(data[:4], "big"), 512)
    brands = {data[at : at + 4] for at in (8, *range(16, end, 4))}
    return next((name for name, known in _BRANDS.items() if brands & known), "a video (MP4)")


def _text(data: bytes) -> str:
    if not data:
        return "an empty file"
    head = data[:_TEXT_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lower()
    if b"\0" in head or data[128:132] == b"DICM":
        return "a DICOM file" if data[128:132] == b"DICM" else "not an image that is known here"
    found = (name for pattern, name in _TEXTS.items() if re.search(pattern, head, re.IGNORECASE))
    return next(found, None) or ("a text" if _is_printable(head) else "not an image that is known here")


def _is_printable(head: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head) and head.decode("utf-8", "replace").count("\ufffd") <= 1
