"""Examines the settings: which differ from their defaults, and which are wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from local.doctor.finding import Finding, ok, problem
from shared.errors import ConfigurationError
from shared.process.environment import load_settings
from shared.settings import GROUPS, SettingsGroup, variable_of

_AREA = "settings"
_MASK = "***"


def readable_groups() -> dict[str, SettingsGroup]:
    """The groups of settings without a wrong value, by name: what needs no other group can be examined."""
    groups: dict[str, SettingsGroup] = {}
    for name, group in GROUPS.items():
        try:
            groups[name] = group.read()
        except (ValidationError, SettingsError, OSError, UnicodeDecodeError):
            continue
    return groups


def examine_settings(groups: dict[str, SettingsGroup]) -> Iterator[Finding]:
    """Report what is wrong, and each setting that differs from its default; secrets are masked."""
    try:
        load_settings()
    except ConfigurationError as error:
        yield problem(_AREA, error.detail, "docs/settings.md lists all settings")
    else:
        yield ok(_AREA, "all are known and in range, and fit each other")
    for group in groups.values():
        for name, field in type(group).model_fields.items():
            value = getattr(group, name)
            if value != field.default:
                yield ok(_AREA, f"{variable_of(name, field)}={_shown(field, value)}{_origin(name, field)}")


def _shown(field: FieldInfo, value: Any) -> str:
    if field.repr:
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return _without_password(value) if isinstance(value, str) and "://" in value else _MASK


def _without_password(url: str) -> str:
    """`redis://maskq:***@redis:6379/0`. Options are left out: they may have a password as well."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{f':{_MASK}' if ':' in login else ''}{at}{place}"


def _origin(name: str, field: FieldInfo) -> str:
    is_variable = variable_of(name, field) in {variable.upper() for variable in os.environ}
    return "" if is_variable else " (from a file in /run/secrets)"
