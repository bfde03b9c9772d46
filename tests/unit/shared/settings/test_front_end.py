"""The settings of the front end: which URLs and networks are allowed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.settings import HttpSettings


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("HTTPS://A.example/maskq/", "https://A.example/maskq"),
        ("http://my_host:8080/a/b.c/~d", "http://my_host:8080/a/b.c/~d"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_public_url_is_kept_without_its_last_slash(given: str, kept: str) -> None:
    assert HttpSettings.read(public_url=given).public_url == kept


@pytest.mark.parametrize(
    "wrong",
    [
        *("a.example", "//a.example", "ftp://a.example", "https://", "https:///maskq", "https://a b"),
        *("https://me:secret@a.example", "https://a.example?x", "https://a.example/#x", "https://a.example\n"),
        *(
            "https://a.example:0",
            "https://a.example:99999",
            "https://a.example:x",
            "https://[::::]",
            "https://ä.example",
        ),
        *("https://a.example/../b", "https://a.example//b", "https://a.example/a%20b", 'https://a.example/"x'),
    ],
)
def test_a_wrong_public_url_is_refused_with_what_is_allowed(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"must be like https://example\.com or https://example\.com/maskq"):
        HttpSettings.read(public_url=wrong)


@pytest.mark.parametrize("networks", ["*", "127.0.0.1", "10.0.0.0/8, fc00::/7"])
def test_proxies_are_addresses_or_networks(networks: str) -> None:
    assert HttpSettings.read(forwarded_allow_ips=networks).forwarded_allow_ips == networks


@pytest.mark.parametrize("wrong", ["lots", "10.0.0.1/8", "10.0.0.0/8,", "*, 10.0.0.1"])
def test_wrong_proxies_are_refused_with_what_is_allowed(wrong: str) -> None:
    with pytest.raises(ValidationError, match="must be addresses or networks like"):
        HttpSettings.read(forwarded_allow_ips=wrong)
