"""JSON bodies with one long text: what is read, what is refused, and how little memory it takes."""

from __future__ import annotations

import json
import os
import tracemalloc
from base64 import b64encode

import pytest

from api.submission.base64_text import decode_base64
from api.submission.json_object import parse_json_object
from shared.errors import MalformedRequest

_IMAGE = os.urandom(300_000)
_TEXT = b64encode(_IMAGE).decode()


def _parsed(text: str | bytes) -> dict[str, object]:
    return parse_json_object(bytearray(text.encode() if isinstance(text, str) else text), ["image"])


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("escapes", [{}, {"/": r"\/"}, {"+": r"\u002b", "/": r"\u002F", "=": r"\u003d"}])
def test_a_long_text_is_read_however_it_is_escaped(head: str, escapes: dict[str, str]) -> None:
    text = head + _TEXT
    for character, escaped in escapes.items():
        text = text.replace(character, escaped)
    fields = _parsed('{"prompt": "a \\"cat\\"", "image": "' + text + '", "timeout": 3}')
    assert (fields["prompt"], fields["timeout"]) == ('a "cat"', 3)
    assert isinstance(fields["image"], bytes)
    assert fields["image"] == (head + _TEXT).encode()


def test_a_short_body_is_read_like_any_json() -> None:
    body = {"image": "QUJD", "prompt": "ü", "list": [1, {"a": None}]}
    assert _parsed(json.dumps(body, ensure_ascii=False)) == body
    assert _parsed(b"\xef\xbb\xbf" + json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"image": "' + _TEXT + '", "more": "' + "x" * 70_000 + '"}', "beside image"),
        ('{"more": "' + _TEXT + '"}', "a text other than image"),
        ('{"more": {"image": "' + _TEXT + '"}}', "a text other than image"),
        ('{"image": ["' + _TEXT + '"]}', "a text other than image"),
        ('{"image": "x\\"' + _TEXT + '"}', "a text other than image"),
        ('{"image": "' + _TEXT + '", "image": ""}', "given twice"),
        ('{"image"' + " " * 100_000 + ': "x"}', "not JSON"),
        ('{"image": "' + _TEXT, "beside image"),
        ("[" * 100_000, "beside image"),
        ("[" * 60_000, "not JSON"),
        ('{"a": ' * 10_000, "not JSON"),
        ('"' * 2_000_000, "beside image"),
        ('["", ' * 2_000_000, "beside image"),
        ('{"x": [' + "1," * 2_000_000 + "1]}", "beside image"),
        ('{"x": ' + "1" * 2_000_000 + "}", "beside image"),
        ('{"image": "a"}'.encode("utf-16"), "not JSON"),
        (b'{"image": "\xff"}', "not JSON"),
        ('"' + _TEXT + '"', "must be a JSON object"),
        ("", "not JSON"),
    ],
)
def test_what_is_not_one_object_with_one_long_text_is_refused(body: str | bytes, detail: str) -> None:
    with pytest.raises(MalformedRequest, match=detail):
        _parsed(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "a", "x": [' + b"1," * 4_000_000 + b"1]}",
        b'{"prompt": "a", "x": ' + b"[" * 8_000_000,
        b'{"prompt": "a", ' + b'"x": 1, ' * 1_000_000 + b"}",
        b'{"image": "' + rb"\/" * 4_000_000 + b'"}',
        b'{"image": "' + b"A" * 8_000_000 + b'"}',
    ],
)
def test_a_body_takes_at_most_as_much_memory_again(body: bytes) -> None:
    received = bytearray(body)
    tracemalloc.start()
    try:
        fields = parse_json_object(received, ["image"])
        image = fields["image"]
        assert isinstance(image, bytes)
        assert decode_base64(image)
    except MalformedRequest:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2.1 * len(body)
