"""URLs as people send them."""

from __future__ import annotations

import pytest

from api.submission.image_url import to_ascii, why_not_fetched


@pytest.mark.parametrize(
    ("sent", "url"),
    [
        ("https://example.com/a%20b.png?x=%2F&y", "https://example.com/a%20b.png?x=%2F&y"),  # nothing to do
        ("https://example.com/a b.png", "https://example.com/a%20b.png"),
        ("  https://example.com/a.png\n", "https://example.com/a.png"),
        ("<https://example.com/a.png>", "https://example.com/a.png"),
        ('"https://example.com/a.png"', "https://example.com/a.png"),
        ("https://example.com/käse/猫.png?q=ü", "https://example.com/k%C3%A4se/%E7%8C%AB.png?q=%C3%BC"),
        ("https://straße.example:443/a", "https://xn--strae-oqa.example:443/a"),
        ("https://例え.jp", "https://xn--r8jz45g.jp"),
        ("https://\uff11\uff12\uff17\u30020.0.1/", "https://127.0.0.1/"),  # becomes an address, which is then refused
    ],
)
def test_a_url_gets_the_form_that_is_sent(sent: str, url: str) -> None:
    assert to_ascii(sent) == url
    assert to_ascii(url) == url


@pytest.mark.parametrize(
    "sent",
    ["https://\ud800/", "https://x/\ud800", "https://a b.com/", "https://x/\r\nA: b", "https://ä_!/", "x" * 9_000],
)
def test_what_has_no_such_form_stays_as_it_is(sent: str) -> None:
    assert to_ascii(sent) == sent


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.com/", ""),
        ("HTTP://example.com/", ""),
        ("C:\\cats\\a.png", "path on your machine"),
        ("C:/cats/a.png", "path on your machine"),
        ("\\\\server\\a.png", "path on your machine"),
        ("/tmp/a.png", "path on your machine"),
        ("./a.png", "path on your machine"),
        ("~/a.png", "path on your machine"),
        ("file:///tmp/a.png", "file of your machine"),
        ("blob:https://example.com/1", "your browser only"),
        ("s3://bucket/a.png", "signed https URL"),
        ("gs://bucket/a.png", "signed https URL"),
        ("ftp://example.com/a.png", "ftp: is not supported"),
        ("javascript:alert(1)", "javascript: is not supported"),
        ("//example.com/a.png", "no scheme"),
        ("example.com/a.png", "no scheme"),
        ("example.com:443/a.png", "no scheme"),
        ("localhost:80/a.png", "no scheme"),
        ("a.png", "no scheme"),
    ],
)
def test_what_no_server_can_answer_is_refused_by_its_own_name(url: str, why: str) -> None:
    assert why in why_not_fetched(url)
    assert bool(why) == bool(why_not_fetched(url))
