"""Values that may be null, written in the OpenAPI document as generators of clients and agents read them best."""

from __future__ import annotations

from typing import Any


def with_type_lists(node: Any) -> Any:
    """A copy of a part of the document. What was a union of one simple type and null has a list of two types."""
    if isinstance(node, list):
        return [with_type_lists(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: with_type_lists(value) for name, value in node.items()}
    match made.get("anyOf"):
        case [{"type": str(kind)} as value, {"type": "null"}] if not {"enum", "const"} & value.keys():
            del made["anyOf"]
            return {**value, **made, "type": [kind, "null"]}
    return made


def set_never_null(parameter: dict[str, Any]) -> None:
    """Take null out of the schema of a parameter. A URL and a header cannot send it: they leave the parameter out."""
    schema = parameter["schema"]
    match schema.get("anyOf"):
        case [value, {"type": "null"}]:
            del schema["anyOf"]
            schema.update(value)
