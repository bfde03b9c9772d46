"""What all groups of settings share: where their values come from, and the types of their fields."""

from __future__ import annotations

import ipaddress
import math
import re
import ssl
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
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


def _parts(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of a URL.

    Raises:
        ValueError: it has another scheme, or no host, or a port that is none.
    """
    parts = urlsplit(url)
    if not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.port == 0 or not parts.hostname:  # reading the port of `host:notaport` raises as well
        raise ValueError
    return parts


def _ca_file(value: Path) -> Path:
    try:
        ssl.create_default_context().load_verify_locations(value)
    except OSError:
        raise ValueError("must be a readable file with certificates as PEM") from None
    return value


def _http_url(value: str) -> str:
    if value:
        try:
            _parts(value, ("http", "https"))
        except ValueError:
            raise ValueError("must be a URL such as http://collector:4318") from None
    return value


def _networks(value: str) -> str:
    for network in value.split(","):
        try:
            ipaddress.ip_network(network.strip())
        except ValueError as error:
            raise ValueError(f"must be networks such as 10.0.0.0/8, comma-separated: {error}") from None
    return value


def _token(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[!-~]*", value.strip()):
        raise ValueError("must be one word of printable ASCII characters, without spaces or line breaks in it")
    return value.strip()


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ManySeconds = Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_numbers)]
CaFile = Annotated[Path, AfterValidator(_ca_file)]
"""A file with certificates of CAs, as PEM."""
HttpUrl = Annotated[str, AfterValidator(_http_url)]
"""A URL with the scheme http or https, or an empty string."""
NetworkList = Annotated[str, AfterValidator(_networks)]
"""IP networks, comma-separated."""
Token = Annotated[SecretStr, BeforeValidator(_token)]
"""A secret of one word; spaces and line breaks around it are removed."""
