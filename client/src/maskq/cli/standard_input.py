"""What other programs write to standard input."""

from __future__ import annotations

import sys

import typer


def standard_input(what: str) -> bytes:
    """All of it.

    Raises:
        typer.BadParameter: it is a terminal, where nobody would know what to type, or it is closed.
    """
    if sys.stdin is None or sys.stdin.closed:  # as after `<&-`
        raise typer.BadParameter(f"- reads {what} from standard input, which is closed")
    if sys.stdin.isatty():
        raise typer.BadParameter(f"- reads {what} from standard input, which is a terminal")
    return sys.stdin.buffer.read()
