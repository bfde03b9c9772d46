"""Runs the command line, and says what is missing if its packages are not installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in `sys.argv` and exit with a status of `exit_status.py`."""
    try:
        from maskq.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"maskq: the command line needs {error.name}: pip install 'maskq[cli]'")
    sys.exit(run(sys.argv[1:]))
