"""What a command shows on a terminal, as text and as a picture."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")
"""Control sequences, except those for colours, which end with m."""
_ERASED = re.compile(r"[^\n]*\n[^\n]*?\r\x1b\[1A\x1b\[2K")
"""A line, and what goes back to it and erases it."""
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def output_on_terminal(command: Sequence[str], folder: Path, **environment: str) -> str:
    """Run a command in `folder` on a terminal of 100 columns. Returns what is to be seen at its end, with colours."""
    ours, its = pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), **environment}
    with subprocess.Popen(command, cwd=folder, env=variables, stdin=its, stdout=its, stderr=its):
        os.close(its)
        written = _read_all(ours)
    lines = _ERASED.sub("", written.decode().replace("\r\n", "\n")).split("\n")
    return "\n".join(_CONTROL.sub("", line.rpartition("\r")[2]) for line in lines).strip("\n")


def _read_all(terminal: int) -> bytes:
    written = b""
    with os.fdopen(terminal, "rb", buffering=0) as file:
        while True:
            try:
                part = file.read(65_536)
            except OSError:  # the command has ended
                return written
            if not part:
                return written
            written += part


def picture_of_terminal(text: str, title: str) -> str:
    """A text with colours as an SVG picture, without fonts of other hosts."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    return _FONT.sub("", console.export_svg(title=title, unique_id="terminal"))
