"""What a client sends for its own use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.submission.client_data import base_name, name_in_url, read_metadata, read_ref


@pytest.mark.parametrize(
    "metadata", [{}, {"a": 1}, {"a": {"b": [1, 2.5, None, True, "\u732b \u0000"]}}, {"": 10**300}, {"a": "x" * 4_000}]
)
def test_metadata_is_kept_unchanged(metadata: dict[str, Any]) -> None:
    assert json.loads(read_metadata(metadata)) == metadata
    assert json.loads(read_metadata(json.dumps(metadata))) == metadata


def _nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "must be a JSON object"),
        (1, "must be a JSON object"),
        (["a"], "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("{", "this is not JSON"),
        ("[" * 60_000, "this is not JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": NaN}', "cannot write"),
        ({"a": float("inf")}, "cannot write"),
        ({"a": "\ud800"}, "cannot write"),
        ({"a": "x" * 4_090}, "has 4,098 bytes as JSON; at most 4,096"),
        ({"a": "\u732b" * 2_000}, "bytes as JSON"),
        (_nested(9), "deeper than 8"),
        (_nested(900), "deeper than 8"),
    ],
)
def test_metadata_is_a_small_json_object(metadata: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_metadata(metadata)


def test_metadata_may_be_eight_levels_deep() -> None:
    assert json.loads(read_metadata(_nested(8))) == _nested(8)


@pytest.mark.parametrize("ref", ["a\nb", "\x00", "\ud800", "x" * 201])
def test_a_reference_is_short_text(ref: str) -> None:
    with pytest.raises(ValueError, match=r"control|201"):
        read_ref(ref)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cat.png", "cat.png"),
        ("/home/ann/cat.png", "cat.png"),
        ("C:\\Users\\Ann\\cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\cat.png", "cat.png"),
        ("\u732b caf\u00e9.jpg", "\u732b caf\u00e9.jpg"),
        ("a\x00b\nc\u202e.png", "abc.png"),
        ("a\ud800.png", "a.png"),
        ('a"<b>|?*:.png', "a__b_____.png"),
        (".hidden", ".hidden"),
        ("..", ""),
        (" . ", ""),
        ("folder/", ""),
        ("", ""),
        ("x" * 300 + ".jpeg", "x" * 195 + ".jpeg"),
        ("x" * 300, "x" * 200),
        ("/" * 100_000 + "a.png", "a.png"),
    ],
)
def test_a_file_name_has_no_folders_and_nothing_that_nobody_sees(path: str, name: str) -> None:
    assert base_name(path) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/cats/a%20b.png?size=1#x", "a b.png"),
        ("https://example.com/a%2Fb%5C..%2Fc.png", "c.png"),
        ("https://example.com/%E7%8C%AB.jpg", "\u732b.jpg"),
        ("https://example.com/%00%ff.png", "\ufffd.png"),
        ("https://example.com/", ""),
        ("https://example.com", ""),
        ("https://[/x", ""),
        ("data:image/png;base64,iVBORw0KGgo/AAAA", ""),
        ("DATA:,a/b.png", ""),
        ("", ""),
    ],
)
def test_the_file_in_a_url_is_named_by_its_last_part(url: str, name: str) -> None:
    assert name_in_url(url) == name
