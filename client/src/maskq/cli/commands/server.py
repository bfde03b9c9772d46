"""`maskq up`, `maskq keys` and `maskq webhook-secrets`: commands of the server, if it is installed here.

The client imports nothing of the server. The server's distribution declares its commands as entry points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import typer

from maskq.errors import ConfigurationError

COMMANDS = {
    "up": "Run the whole service on this machine.",
    "keys": "Create, list and revoke API keys.",
    "webhook-secrets": "Show and change the secrets that sign webhooks.",
}
"""Names, and what they are for."""
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings of a command that reads its arguments itself, `--help` too."""
_GROUP = "maskq.commands"


def command(name: str) -> Callable[[typer.Context], int]:
    """The function that runs one of them. It may exit by itself."""

    def run(context: typer.Context) -> int:
        return _run(name, context.args)

    run.__doc__ = f"{COMMANDS[name]} Needs the server's package."
    return run


def _run(name: str, arguments: list[str]) -> int:
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    if found is None:
        raise ConfigurationError(
            f"maskq {name} is a command of the server, which is not installed here. Run scripts/{name} in a clone of"
            " maskq, or there: pip install '.[api,worker,local]'"
        )
    try:
        function = found.load()
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"maskq {name} needs {error.name}, which is not installed. In a clone of maskq: pip install"
            " '.[api,worker,local]'"
        ) from error
    sys.argv = [f"maskq {name}", *arguments]
    return int(function() or 0)
