"""Runs the command line, and says what is missing if its packages are not installed."""

from __future__ import annotations

import sys

from maskq.cli.exit_status import ExitStatus


def main() -> None:
    """Run the command in `sys.argv` and exit with an `ExitStatus`."""
    try:
        from maskq.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"maskq: the command line needs {error.name}: pip install 'maskq[cli]'")
    sys.exit(run(sys.argv[1:]))


__all__ = ["ExitStatus", "main"]
