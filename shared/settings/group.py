"""What all groups of settings share: where their values come from, and the types of their fields."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "MASKQ_"
SECRETS = Path("/run/secrets")
"""Folder where Docker and Kubernetes mount secrets: the file `/run/secrets/hf_token` stands for `HF_TOKEN`."""


class SettingsGroup(BaseSettings):
    """Settings that belong together. Values come from arguments, the environment, or files in `SECRETS`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, env_prefix=PREFIX, validate_by_name=True
    )
    read_by: ClassVar[str]
    """The processes that read the group, for docs/settings.md."""

    @classmethod
    def read(cls, **values: Any) -> Self:
        """The group with these values; all others come from the environment, or from files in `SECRETS`.

        Raises:
            pydantic.ValidationError: a value is not allowed, or some contradict each other.
        """
        return cls(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **values)


def variable_of(name: str, field: FieldInfo) -> str:
    """The environment variable of a setting."""
    return field.validation_alias if isinstance(field.validation_alias, str) else PREFIX + name.upper()


def _numbers(value: object) -> object:
    """`5, 300` -> `[5.0, 300.0]`; a value that is not text stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        numbers = [float(part) for part in value.split(",") if part.strip()]
    except ValueError:
        numbers = [math.nan]
    if not all(0 <= number < math.inf for number in numbers):
        raise ValueError("must be numbers of at least 0, comma-separated")
    return numbers


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://")):
        raise ValueError("must begin with redis:// or rediss://")
    return value


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ManySeconds = Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_numbers)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
