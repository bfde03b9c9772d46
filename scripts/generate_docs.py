"""Writes the pages of docs/ that are made from code: settings and errors. A test holds them up to date.

python -m scripts.generate_docs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shared import errors
from shared.errors import ConfigurationError, MaskqError
from shared.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"


def settings_page() -> str:
    """Every setting with its default and what it is for."""
    rows = [
        f"| `{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    head = ["# Settings", "", "Environment variables, read once at start. `_s` is seconds.", ""]
    return "\n".join([*head, "| variable | default | what for |", "|---|---|---|", *rows, ""])


def errors_page() -> str:
    """Every error a client can meet, with its HTTP status."""
    refusals = sorted(_leaves(MaskqError), key=lambda error: (error.status, error.type))
    rows = [
        f"| `{error.type}` | {error.status} | {error.title} | {(error.__doc__ or '').splitlines()[0]} |"
        for error in refusals
        if not issubclass(error, ConfigurationError)
    ]
    head = [
        "# Errors",
        "",
        "Every refusal is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` and `instance`.",
        "A failed job carries `error: {type, detail}` with the same types. Branch on `type`: it is stable.",
        "Paths and methods that do not exist answer 404 and 405 in the same form, `type` being the HTTP phrase.",
        "",
    ]
    return "\n".join([*head, "| type | status | title | when |", "|---|---|---|---|", *rows, ""])


def _default(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value).replace(str(Path.home()), "~")
    return "" if value is None else f"`{text}`"


def _leaves(error: type[MaskqError]) -> Iterator[type[MaskqError]]:
    if error.__module__ == errors.__name__:
        yield error
    for child in error.__subclasses__():
        yield from _leaves(child)


PAGES = {"settings.md": settings_page, "errors.md": errors_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
