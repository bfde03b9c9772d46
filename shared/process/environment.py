"""Reads the settings from the environment, and refuses what cannot be meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.errors import ConfigurationError
from shared.settings import GROUPS, PREFIX, Settings, SettingsGroup, all_settings, variable_of

_READ_ELSEWHERE = frozenset({"MASKQ_URL", "MASKQ_API_KEY", "MASKQ_FAILPOINT"})
"""Variables with our prefix that are no settings of the service: clients and tests read them."""
_SET_BY_KUBERNETES = re.compile(r"MASKQ_\w*?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*)")
"""Kubernetes describes each service to every pod of its namespace, by variables that begin with the service's name."""


def load_settings() -> Settings:
    """Read the settings from the environment, and from files in /run/secrets for what is not there.

    Raises:
        ConfigurationError: a value is not allowed, values contradict each other, or no setting has the name of a
            variable that begins with `MASKQ_`. Names every such variable and says what is allowed.
    """
    wrong = [*_unknown(os.environ), *_invalid()]
    if wrong:
        raise ConfigurationError(f"wrong settings in the environment: {'; '.join(wrong)}")
    return Settings.of()


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    known = {variable_of(name, field) for _, name, field in all_settings()}
    by_name = {variable.removeprefix(PREFIX): variable for variable in known}
    for variable, value in sorted(environment.items()):
        is_ours = variable.upper().startswith(PREFIX) and variable.upper() not in known | _READ_ELSEWHERE
        if is_ours and not _SET_BY_KUBERNETES.fullmatch(variable) and not value.startswith(("tcp://", "udp://")):
            nearest = get_close_matches(variable.upper().removeprefix(PREFIX), by_name, n=1)
            hint = f"did you mean {by_name[nearest[0]]}?" if nearest else "docs/settings.md lists all settings"
            yield f"{variable}: there is no such setting; {hint}"


def _invalid() -> Iterator[str]:
    """Every group is checked, so that all mistakes are told at once."""
    for group in GROUPS.values():
        try:
            group.read()
        except ValidationError as error:
            yield from (_explained(group, each) for each in error.errors())


def _explained(group: type[SettingsGroup], error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0]).lower()
    field = group.model_fields.get(name) or next(f for f in group.model_fields.values() if f.validation_alias == name)
    if error["type"] == "string_pattern_mismatch":
        message = f"allowed are {(field.description or '').partition('. ')[0]}"
    return f"{variable_of(name, field)}: {message}"
