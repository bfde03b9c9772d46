"""Which origins a setting may have."""

from __future__ import annotations

import pytest

from shared.settings.origins import origin_list


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("https://a.example", "https://a.example"),
        (" HTTPS://A.example , http://localhost:3000", "https://a.example,http://localhost:3000"),
        ("https://a.example:443,http://b.example:80", "https://a.example,http://b.example"),
        ("https://a.example:80,http://b.example:443", "https://a.example:80,http://b.example:443"),
        ("http://[::1]:8000,http://127.0.0.1", "http://[::1]:8000,http://127.0.0.1"),
        ("https://a.example,https://a.example", "https://a.example"),
    ],
)
def test_origins_are_as_browsers_write_them(value: str, expected: str) -> None:
    assert origin_list(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("*", "null", "a.example", "//a.example", "https://", "https://a.example/", "https://a.example/app"),
        *("https://*.example", "ftp://a.example", "file:///a", "https://a.example:0", "https://a.example:65536"),
        *("https://a.example:", "https://u@a.example", "https://a.example?x", "https://a.example#x", "https://a..b"),
        *("https://a.example,", ",", "https://a.example;https://b.example", "https://a.example https://b.example"),
        *(
            "https://bücher.example",
            "https://a.example\r\nX: y",
            "https://a.example\n,https://b.example,x",
            "https://[",
        ),
        *("http://[zz::1", "http://[1]", "https://.a.example", "https://a.example."),
    ],
)
def test_what_is_no_origin_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be origins like"):
        origin_list(value)
