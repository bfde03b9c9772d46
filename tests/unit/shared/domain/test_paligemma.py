from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.paligemma import (
    BEGINS_WITH_OBJECT,
    CODEBOOK_SIZE,
    LOCATION_SCALE,
    LOCATIONS,
    RESERVED_TOKEN,
    SPATIAL_TOKEN,
    location_token,
    mask_token,
    read_prompt,
    to_coordinate,
    to_location,
    write_prompt,
    write_tokens,
)
from testing.factories import written_answer

_PHRASES = st.lists(st.sampled_from(["cat", "red circle", "Straße 猫"]), min_size=1, max_size=4)


def test_the_numbers_are_those_of_the_published_tokens() -> None:
    assert (location_token(0), location_token(LOCATIONS - 1)) == ("<loc0000>", "<loc1023>")
    assert (mask_token(0), mask_token(CODEBOOK_SIZE - 1)) == ("<seg000>", "<seg127>")
    assert LOCATION_SCALE == 1023


def test_every_token_is_read_back() -> None:
    text = write_tokens(range(LOCATIONS), range(CODEBOOK_SIZE))
    found = [(loc or seg, int(location or code)) for loc, location, seg, code in SPATIAL_TOKEN.findall(text)]
    assert found == [("loc", value) for value in range(LOCATIONS)] + [("seg", code) for code in range(CODEBOOK_SIZE)]


def test_every_location_survives_as_a_coordinate() -> None:
    assert [to_location(to_coordinate(location)) for location in range(LOCATIONS)] == list(range(LOCATIONS))


def test_the_first_and_last_locations_are_the_edges() -> None:
    assert (to_coordinate(0), to_coordinate(LOCATION_SCALE)) == (0.0, 1.0)


@given(_PHRASES)
def test_a_prompt_is_read_back(phrases: list[str]) -> None:
    assert read_prompt(write_prompt(phrases)) == phrases


def test_prompts_and_answers_have_the_published_form() -> None:
    assert write_prompt(["cat", "dog"]) == "segment cat ; dog"
    answer = written_answer([((0, 1, 22, 1023), (0, 127), "cat"), ((5, 6, 7, 8), (), "red dog")])
    assert answer == (
        "<loc0000><loc0001><loc0022><loc1023><seg000><seg127> cat ; <loc0005><loc0006><loc0007><loc0008> red dog"
    )


def test_an_answer_begins_with_an_object_if_box_and_mask_are_complete() -> None:
    box, codes = (0, 0, 9, 9), (1,) * 16
    assert BEGINS_WITH_OBJECT.match(write_tokens(box, codes) + " cat")
    for tokens in (write_tokens(box, codes[1:]), write_tokens(box[1:], codes), " " + write_tokens(box, codes)):
        assert not BEGINS_WITH_OBJECT.match(tokens + " cat")


@pytest.mark.parametrize("text", [location_token(7), mask_token(7), "<loc1>", "< SEG7 >", "</bos>", "<image>"])
def test_tokens_are_reserved_text(text: str) -> None:
    assert RESERVED_TOKEN.search(f"a {text} cat")


def test_the_module_imports_the_standard_library_only(root: Path) -> None:
    program = (
        "import sys, re, collections.abc, __future__; before = set(sys.modules); import shared.domain.paligemma; "
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('shared')))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
