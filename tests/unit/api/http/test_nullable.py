"""Nullable values in the OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest

from api.http.nullable import set_never_null, with_type_lists

_NULL = {"type": "null"}


def test_a_union_of_a_simple_type_and_null_becomes_a_list_of_types() -> None:
    schema = {"properties": {"at": {"anyOf": [{"type": "string", "format": "date-time"}, _NULL], "title": "At"}}}
    expected = {"properties": {"at": {"type": ["string", "null"], "format": "date-time", "title": "At"}}}
    assert with_type_lists(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"$ref": "#/components/schemas/JobView"}, _NULL]},
        {"anyOf": [{"type": "string", "enum": ["a"]}, _NULL]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}, _NULL]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string"},
    ],
)
def test_any_other_schema_stays_as_it_is(schema: dict[str, Any]) -> None:
    assert with_type_lists([schema]) == [schema]


def test_a_parameter_is_never_null() -> None:
    parameter = {"in": "header", "schema": {"anyOf": [{"type": "string"}, _NULL], "title": "If-None-Match"}}
    set_never_null(parameter)
    assert parameter["schema"] == {"type": "string", "title": "If-None-Match"}
