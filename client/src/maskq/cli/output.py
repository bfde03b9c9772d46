"""What a command writes: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskq.errors import ConnectionFailed, KeyRequired, MaskqError, RequestError


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
"""Standard output for tables that no terminal shows in its width: no cell is cut."""
_TEXT_CHARS = 20
"""The least width of a column of texts."""


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


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, texts: Sequence[int], with_headings: bool = True
) -> None:
    """Write a table. Cells are shown as they are. A terminal that is wide enough breaks the columns `texts` into lines;
    a narrow one, a file and a pipe get each row as one line, with all cells whole."""
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=with_headings)
    cells = [[plain(cell) for cell in row] for row in rows]
    for number, heading in enumerate(headings):
        longest = max(map(cell_len, [heading, *(row[number] for row in cells)]))
        least = min(longest, _TEXT_CHARS) if number in texts else longest
        table.add_column(heading, min_width=least, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    has_room = stdout.is_terminal and _wide.measure(table).minimum <= stdout.width
    (stdout if has_room else _wide).print(table)


def print_note(message: object) -> None:
    """Write one line to standard error. Nothing in it is markup."""
    stderr.print(Text(f"maskq: {plain(message)}"), soft_wrap=True)


def text_of(error: MaskqError) -> str:
    """What happened, and what helps where the message of the service does not say it to users of a command line."""
    if isinstance(error, KeyRequired):
        return f"{error}. Set MASKQ_API_KEY; maskq doctor examines the key"
    is_elsewhere = isinstance(error, RequestError) and error.type in ("not_found", "no_json")
    return (
        f"{error}. maskq doctor looks for the reason"
        if is_elsewhere or isinstance(error, ConnectionFailed)
        else f"{error}"
    )


def print_error(message: str) -> None:
    """Write one line to standard error, in red. Nothing in it is markup: it may come from a service."""
    stderr.print(Text(f"maskq: {plain(message)}", style="red"), soft_wrap=True)
