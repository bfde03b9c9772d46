"""Runs the command line, and says what is missing if its packages are not installed."""

from __future__ import annotations

import io
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command in `sys.argv` and exit with a status of `exit_status.py`."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:  # while modules are loaded
        sys.exit(_INTERRUPTED)


def _run() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not have all characters of a label
    try:
        from maskq.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"maskq: the command line needs {error.name}: pip install 'maskq[cli]'")
    return run(sys.argv[1:])
