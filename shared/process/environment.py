"""Reads the settings from the environment, and refuses wrong names, wrong values and contradictions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from shared.errors import ConfigurationError
from shared.settings import GROUPS, PREFIX, Settings, SettingsGroup, all_settings, variable_of
from shared.settings.allowed import allowed_values
from shared.settings.group import SECRETS

_READ_ELSEWHERE = frozenset({"MASKQ_URL", "MASKQ_API_KEY", "MASKQ_FAILPOINT"})
"""Variables with our prefix that are not settings of the service: clients and tests read them."""
_SET_BY_KUBERNETES = re.compile(r"MASKQ_\w*?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*)")
"""Kubernetes gives every pod variables that describe the services of its namespace and begin with their names."""
_MAX_SHOWN_CHARS = 60
"""Of a value that is not allowed."""


def load_settings() -> Settings:
    """Read the settings from the environment; those that are not there, from files in /run/secrets.

    Raises:
        ConfigurationError: a value is not allowed, values contradict each other, or a variable begins with `MASKQ_`
            and is not a setting. The message names every such variable and what is allowed.
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


def _invalid() -> list[str]:
    """Check every group, so that all mistakes are reported at once, and then whether the groups fit each other."""
    mistakes = [mistake for group in GROUPS.values() for mistake in _refused(group, group.read)]
    return mistakes or list(_refused(SettingsGroup, Settings.of))


def _refused(group: type[SettingsGroup], read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except ValidationError as error:
        yield from (_explained(group, each) for each in error.errors())
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        yield f"the secrets in {SECRETS} cannot be read: {_reason(error)}"


def _reason(error: Exception) -> str:
    """`/run/secrets/hf_token: Permission denied`. The content of a file is never part of it."""
    cause = error.__cause__ or error if isinstance(error, SettingsError) else error
    if isinstance(cause, OSError):
        return f"{cause.filename}: {cause.strerror}"
    return "a file is not text in UTF-8" if isinstance(cause, UnicodeDecodeError) else type(cause).__name__


def _explained(group: type[SettingsGroup], error: ErrorDetails) -> str:
    """`MASKQ_MAX_BATCH=lots: must be a whole number from 1 to 256`; the value of a secret is left out."""
    ours = error["msg"].removeprefix("Value error, ") if error["type"] == "value_error" else ""
    if not error["loc"]:
        return ours
    name = str(error["loc"][0]).lower()
    field = group.model_fields[name]
    given = f"={_one_line(error['input'])}" if field.repr else ""
    return f"{variable_of(name, field)}{given}: {ours or f'must be {allowed_values(field)}'}"


def _one_line(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."
