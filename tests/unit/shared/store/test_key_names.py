"""Names in Redis are the same in Python and in Lua."""

from __future__ import annotations

import pytest

from shared.store import key_names


def test_values_take_the_places_of_the_braces() -> None:
    assert key_names.job("a%sb") == "maskq:job:a%sb"
    assert key_names.waiting("demo", "high") == "maskq:waiting:demo:high"


@pytest.mark.parametrize("values", [(), ("demo",), ("demo", "high", "more")])
def test_a_wrong_number_of_values_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        key_names.waiting(*values)


def test_scripts_see_every_name() -> None:
    lua = key_names.as_lua().splitlines()
    assert "local function waiting_key(...) return string.format('maskq:waiting:%s:%s', ...) end" in lua
    assert "local CHANGES = 'maskq:changes'" in lua
    names = [value for value in vars(key_names).values() if isinstance(value, (str, key_names.KeyName))]
    ours = [value for value in names if isinstance(value, key_names.KeyName) or value.startswith("maskq:")]
    assert len(lua) == len(ours)
