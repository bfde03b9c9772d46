"""Options that several commands have, and the client that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from maskq.cli.completion import model_names
from maskq.client import Client
from maskq.configuration import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE

Url = Annotated[
    str | None,
    typer.Option("--url", envvar=URL_VARIABLE, show_envvar=True, help=f"URL of the service. [default: {DEFAULT_URL}]"),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar=KEY_VARIABLE, show_envvar=True, help="API key; better given in the environment."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, for other programs.")]

Model = Annotated[
    str | None,
    typer.Option("--model", help="A model of `maskq models`. [default: the first]", autocompletion=model_names),
]


@dataclass(frozen=True)
class Target:
    """Which service a command calls."""

    url: str | None
    api_key: str | None

    def client(self) -> Client:
        """A client of it.

        Raises:
            ConfigurationError: URL or key cannot be used.
        """
        return Client(self.url, self.api_key)


def client_of(context: typer.Context) -> Client:
    """The client of the service that the options before the command name.

    Raises:
        ConfigurationError: URL or key cannot be used.
    """
    target: Target = context.obj
    return target.client()
