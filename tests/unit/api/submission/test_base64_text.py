"""Base64 in slices: the same result and the same errors as at once."""

import binascii
import os
from base64 import b64encode

import pytest

from api.submission import base64_text
from api.submission.base64_text import decode_base64


@pytest.mark.parametrize("size", [0, 1, 2, 3, 11, 12, 13, 1_000])
@pytest.mark.parametrize("head", [b"", b"data:image/png;base64,"])
def test_a_text_of_any_length_is_decoded(monkeypatch: pytest.MonkeyPatch, size: int, head: bytes) -> None:
    monkeypatch.setattr(base64_text, "_SLICE_CHARS", 16)
    data = os.urandom(size)
    assert decode_base64(head + b64encode(data)) == data


@pytest.mark.parametrize("text", [b"QUJD QUJD", b"QUJ", b"QQ==QUJD", b"QUJDQUJDQUJDQQ==QUJD", b"QU-_", b"\xff" * 4])
def test_what_is_not_base64_is_refused(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(base64_text, "_SLICE_CHARS", 16)
    with pytest.raises(binascii.Error):
        decode_base64(text)
