"""Which values a setting may have, in words for the operator."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

_NOUNS = {int: "a whole number", float: "a number"}


def allowed_values(field: FieldInfo) -> str:
    """What a setting must be: `a whole number from 1 to 256`, `text or json`, `true or false`."""
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if kind is bool:
        return "true or false"
    return _NOUNS.get(kind, "text") + _range(field.metadata)


def _without_none(annotation: Any) -> Any:
    """`bool | None` -> `bool`; every other type stays as it is."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if len(kinds) < len(get_args(annotation)) else annotation


def _range(constraints: list[Any]) -> str:
    """` from 1 to 256`, ` of at least 1`, ` above 0`, or nothing."""
    bounds = {type(each): each for each in constraints}
    if Gt in bounds:
        return f" above {bounds[Gt].gt}"
    if Ge in bounds and Le in bounds:
        return f" from {bounds[Ge].ge} to {bounds[Le].le}"
    return f" of at least {bounds[Ge].ge}" if Ge in bounds else ""
