"""Base64 as programs write it."""

from __future__ import annotations

import base64
import binascii

import pytest

from api.submission import base64_text
from api.submission.base64_text import decode_base64

_IMAGE = bytes(range(256)) + b"\xfb\xff\xfe"
_TEXT = base64.b64encode(_IMAGE).decode()
_FORMS = {
    "plain": _TEXT,
    "lines of 76": base64.encodebytes(_IMAGE).decode(),
    "lines of Windows": base64.encodebytes(_IMAGE).decode().replace("\n", "\r\n"),
    "spaces for lines": base64.encodebytes(_IMAGE).decode().replace("\n", " "),
    "no padding": _TEXT.rstrip("="),
    "URL-safe": base64.urlsafe_b64encode(_IMAGE).decode(),
    "URL-safe without padding": base64.urlsafe_b64encode(_IMAGE).decode().rstrip("="),
    "escaped for URLs": _TEXT.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
    "escaped line ends": _TEXT[:8] + "\\r\\n" + _TEXT[8:] + "\\n",
    "as Python prints bytes": str(base64.b64encode(_IMAGE)),
    "in quotes": f'"{_TEXT}"\n',
    "with slashes escaped for JSON": _TEXT.replace("/", "\\/"),
    "behind a byte order mark": f"\ufeff{_TEXT}",
    "behind half a data: URL": f"image/png;base64,{_TEXT}",
    "padding on a line of its own": _TEXT.rstrip("=") + "\n=\n=\n",
}


@pytest.mark.parametrize("name", _FORMS)
@pytest.mark.parametrize("slice_chars", [4, 7, 1_000_000])
def test_base64_is_decoded_in_every_form(monkeypatch: pytest.MonkeyPatch, name: str, slice_chars: int) -> None:
    monkeypatch.setattr(base64_text, "_SLICE_CHARS", slice_chars)
    for size in range(len(_IMAGE)):
        assert decode_base64(base64.b64encode(_IMAGE[:size])) == _IMAGE[:size]
    assert decode_base64(_FORMS[name].encode()) == _IMAGE


@pytest.mark.parametrize("text", ["!", "A", "AAAAA", "AA=A", "AA==AA==", "AAAA=AAA", "ÄÄÄÄ", "%00", "https://x/a.png"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(binascii.Error):
        decode_base64(text.encode())
