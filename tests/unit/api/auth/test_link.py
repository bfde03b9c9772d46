"""A link is valid exactly as it was signed."""

from __future__ import annotations

import string

import pytest

from api.auth.link import GivenLink, Link, require_time
from shared.errors import LinkExpired, LinkInvalid

_SECRET = bytes(range(32))
_KEY = "0123456789abcdef" * 4
_TEXT = string.ascii_letters + string.digits + "-_."
_PLAIN = Link("/jobs/1/overlay.png", 1_800_000_000, _KEY)
_LINKS = [_PLAIN, Link("/jobs/1/result?format=coco", 1, ""), Link("/jobs/1/a b\n/ü?x=sig=1&y", 2, _KEY)]


def _verified(url: str, secret: bytes = _SECRET) -> Link:
    path, _, query = url.partition("?")
    return GivenLink.parse(path, query).verified(secret)


@pytest.mark.parametrize("link", _LINKS)
def test_a_link_is_read_as_it_was_signed(link: Link) -> None:
    assert _verified(link.signed(_SECRET)) == link


@pytest.mark.parametrize("link", _LINKS)
def test_no_character_of_a_link_can_be_changed_left_out_or_added(link: Link) -> None:
    url = link.signed(_SECRET)
    for index, old in enumerate(url):
        for new in {"", f"{old}0", f"0{old}", *(_TEXT[(ord(old) + step) % len(_TEXT)] for step in (0, 1, 7))} - {old}:
            changed = url[:index] + new + url[index + 1 :]
            if changed != url:
                with pytest.raises(LinkInvalid):
                    _verified(changed)


@pytest.mark.parametrize(
    "more", ["&", "&a=1", "%20", " ", "\n", "=", "&sig=", "&sig=1.2.3", "#", "\u0661", ".", "&sig={sig}", "?"]
)
def test_nothing_can_follow_a_signature(more: str) -> None:
    url = _PLAIN.signed(_SECRET)
    with pytest.raises(LinkInvalid):
        _verified(url + more.format(sig=url.partition("sig=")[2]))


@pytest.mark.parametrize("before", ["a=1&", "&", "sig=1&", "a", "%73ig=1&", "sig=1.2.3&"])
def test_nothing_can_stand_before_a_signature(before: str) -> None:
    with pytest.raises(LinkInvalid):
        _verified(_PLAIN.signed(_SECRET).replace("?", f"?{before}"))


@pytest.mark.parametrize("query", ["", "sig", "sig=", "sig=..", f"sig=01.{_KEY}.{'a' * 43}", "sig=1..a", "sig=\xb2..a"])
def test_what_is_no_signature_is_refused(query: str) -> None:
    with pytest.raises(LinkInvalid):
        _verified(f"/jobs/1/overlay.png?{query}")


def test_another_secret_signs_other_links() -> None:
    with pytest.raises(LinkInvalid):
        _verified(_PLAIN.signed(_SECRET), bytes(32))


def test_parts_cannot_be_moved_into_each_other() -> None:
    links = [Link("/1", 1, ""), Link("1", 1, "/"), Link("", 11, "/")]
    assert len({link.code(_SECRET) for link in links}) == 3


def test_a_link_ends_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 99.9)
    require_time(100)
    monkeypatch.setattr("time.time", lambda: 100.0)
    with pytest.raises(LinkExpired):
        require_time(100)
