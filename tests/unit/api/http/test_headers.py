"""Headers that say what a client wants: `Prefer`, `If-None-Match`, `Idempotency-Key`."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.headers import idempotency_key, is_known, preferred_wait_s, weak_entity_tag
from shared.errors import InvalidField

_HEADER_TEXT = st.text(st.characters(codec="latin-1"), max_size=200)
_HEADER_LIKE = st.text(st.sampled_from('wait=WAIT0123456789,;" \\\t/*-foo'), max_size=60)
_VERSION = st.from_regex(r"[0-9]{1,4}-(queued|processing|succeeded|failed|canceled)", fullmatch=True)


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        (["wait=10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),  # in two headers
        (["WAIT = 10 ; strictly"], 10),  # any case, spaces, a parameter
        (['wait="10"'], 10),
        (["wait=0"], 0),
        (["wait=5, wait=30"], 5),  # the first counts
        (["wait=61"], 60),  # cut
        (['foo="a, wait=7", wait=3'], 3),  # a comma in quotes separates nothing
        ([r'foo="\", wait=7", wait=3'], 3),  # nor does an escaped quote end them
        (["waiting=10"], 0),
        (["x-wait=10"], 0),
        (["wait"], 0),
        (["wait="], 0),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=1e9"], 0),
        (["wait=soon, wait=10"], 0),  # the first counts, and it is invalid
        (["wait=\u0663"], 0),  # an Arabic three is not a digit here
        (["wait=10" + " " * 2_000], 0),  # longer than the limit
        ([], 0),
    ],
)
def test_prefer_wait_is_read_as_rfc_7240_defines(prefer: list[str], wait_s: float) -> None:
    assert preferred_wait_s(prefer, 60) == wait_s


@given(st.lists(_HEADER_TEXT | _HEADER_LIKE, max_size=4))
def test_a_preferred_wait_is_within_its_limits(prefer: list[str]) -> None:
    assert 0 <= preferred_wait_s(prefer, 60) <= 60


@given(st.integers(0, 60), st.lists(st.sampled_from(["respond-async", 'a="b,c"', "return=minimal"]), max_size=3))
def test_wait_is_found_among_other_preferences(seconds: int, others: list[str]) -> None:
    assert preferred_wait_s([", ".join([*others, f"wait={seconds}"])], 60) == seconds


@pytest.mark.parametrize("hostile", ['"' * 1_000, '\\"' * 500, ',"' * 500, 'wait="' + "\\" * 900, "," * 1_000])
def test_a_hostile_header_is_read_quickly(hostile: str) -> None:
    begin = time.process_time()
    for _ in range(10):
        preferred_wait_s([hostile], 60)
        is_known(hostile, "1-queued")
    assert time.process_time() - begin < 2


@given(_VERSION, _VERSION)
def test_a_version_is_known_if_its_tag_is_named(version: str, other: str) -> None:
    tag = weak_entity_tag(version)
    assert is_known(tag, version)
    assert is_known(tag.removeprefix("W/"), version)  # weak comparison
    assert is_known(f'"x" , {tag},W/"y"', version)
    assert is_known(" * ", version)
    assert is_known(weak_entity_tag(other), version) == (other == version)


@given(_HEADER_TEXT, _VERSION)
def test_only_entity_tags_name_a_version(header: str, version: str) -> None:
    assert not is_known(None, version)
    assert is_known(header, version) == (header.strip() == "*" or f'"{version}"' in header)


@pytest.mark.parametrize("key", ["", "5f0c", "x" * 255, "a b"])
def test_a_printable_idempotency_key_is_accepted(key: str) -> None:
    assert idempotency_key({"idempotency-key": key}) == key


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9", "a\tb"])
def test_a_long_or_unprintable_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidField, match="Idempotency-Key: must be at most 255 printable"):
        idempotency_key({"idempotency-key": key})
