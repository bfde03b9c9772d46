"""What a command writes: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


class OutputClosed(Exception):
    """The program that reads standard output has ended."""


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Write what is left to nowhere, so that Python does not complain at its end."""
        discard_output()
        raise OutputClosed


def discard_output() -> None:
    """Let all that is still written to standard output disappear."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


stdout = _Output(markup=False, highlight=False, emoji=False)
"""Tables and results. Plain text, if it is no terminal."""
stderr = Console(stderr=True, markup=False, highlight=False, emoji=False)
"""Progress and errors."""
_wide = _Output(markup=False, highlight=False, emoji=False, width=1_000_000)
"""Standard output for tables that no terminal shows: no cell is cut."""


def plain(value: object) -> str:
    """A text that a terminal shows and does not obey: what is not printable becomes an escape such as `\\x1b`. None is
    an empty text."""
    if value is None:
        return ""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in str(value))


def print_json(value: Any) -> None:
    """Write one JSON document, with a newline at its end, and no colours. Control characters are escapes in it."""
    stdout.out(json.dumps(value), highlight=False)


def print_line(text: object) -> None:
    """Write one line, whatever its length. Nothing in it is markup."""
    stdout.out(plain(text), highlight=False)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, with_headings: bool = True) -> None:
    """Write a table. Cells are shown as they are; a file or a pipe gets them whole, whatever their length."""
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=with_headings)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    (stdout if stdout.is_terminal else _wide).print(table)


def print_note(message: object) -> None:
    """Write one line to standard error. Nothing in it is markup."""
    stderr.print(Text(f"maskq: {plain(message)}"), soft_wrap=True)


def print_error(message: str) -> None:
    """Write one line to standard error, in red. Nothing in it is markup: it may come from a service."""
    stderr.print(Text(f"maskq: {plain(message)}", style="red"), soft_wrap=True)
