"""What a command writes: results to standard output, all else to standard error."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

stdout = Console()
"""Tables and results. Plain text, if it is no terminal."""
stderr = Console(stderr=True)
"""Progress and errors."""


def print_json(value: Any) -> None:
    """Write one JSON document, with a newline at its end, and no colours."""
    stdout.out(json.dumps(value, ensure_ascii=False), highlight=False)


def print_error(message: str) -> None:
    """Write one line to standard error. Nothing in it is markup: it may come from a service."""
    stderr.print(f"maskq: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
