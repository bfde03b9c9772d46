"""`data:` URLs (RFC 2397): the image is in the URL."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from api.submission.base64_text import decode_base64

_MAX_PERCENT_BYTES = 65_536
"""Longest data with percent escapes: they take far more memory to decode than base64."""
_MAX_HEAD_BYTES = 1_000


def is_data_url(text: str | bytes) -> bool:
    """Whether this is a `data:` URL."""
    return text[:5].lower() in ("data:", b"data:")


def decode_data_url(url: bytes) -> bytes:
    """The data in a `data:` URL.

    Raises:
        ValueError: there is none, or it is not what its head says.
    """
    begin = url.find(b",", 0, _MAX_HEAD_BYTES) + 1
    if begin == 0:
        raise ValueError("no comma")
    if url[: begin - 1].rstrip().lower().endswith(b"base64"):
        return decode_base64(url[begin:])
    if len(url) > _MAX_PERCENT_BYTES:
        raise ValueError("too long for percent escapes")
    return unquote_to_bytes(url[begin:])
