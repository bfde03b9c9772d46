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


def test_a_script_sees_the_names_that_it_uses() -> None:
    source = "return redis.call('PUBLISH', CHANGES, waiting_key(args.model, 'high') .. job_key(args.id))"
    assert key_names.as_lua(source).splitlines() == [
        "local function job_key(job_id) return 'maskq:job:' .. job_id end",
        "local function waiting_key(model_id, priority) return 'maskq:waiting:' .. model_id .. ':' .. priority end",
        "local CHANGES = 'maskq:changes'",
    ]
