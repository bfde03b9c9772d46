"""Writes the pages of docs/ that are generated from code: settings and errors. A test checks that they are up to date.

python -m scripts.generate_docs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shared import errors
from shared.errors import ConfigurationError, MaskqError
from shared.settings import GROUPS, SettingsGroup, variable_of

DOCS = Path(__file__).parent.parent / "docs"
_SETTINGS_HEAD = [
    "# Settings",
    "",
    "Environment variables, read once when a process starts. A name that ends in `_S` is a number of seconds. A",
    "variable that is not set is read from the file with its name, in lower case, in `/run/secrets`.",
    "",
    "A variable that begins with `MASKQ_` and is not listed here is refused, and so are values that contradict each",
    "other: the process ends with status 78 and names them.",
    "",
]


def settings_page() -> str:
    """Every setting with its default and its purpose, in the groups of the code."""
    return "\n".join([*_SETTINGS_HEAD, *(line for group in GROUPS.values() for line in _settings_table(group))])


def _settings_table(group: type[SettingsGroup]) -> list[str]:
    rows = [
        f"| `{variable_of(name, field)}` | {_default(field.default)} | {field.description} |"
        for name, field in group.model_fields.items()
    ]
    head = [f"## {group.__doc__}", "", f"Read by {group.read_by}.", ""]
    return [*head, "| variable | default | purpose |", "|---|---|---|", *rows, ""]


def errors_page() -> str:
    """Every error that a client can get, with its HTTP status."""
    refusals = sorted(_leaves(MaskqError), key=lambda error: (error.status, error.type))
    rows = [
        f"| `{error.type}` | {error.status} | {error.title} | {(error.__doc__ or '').splitlines()[0]} |"
        for error in refusals
        if not issubclass(error, ConfigurationError)
    ]
    head = [
        "# Errors",
        "",
        "Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` and `instance`.",
        "A failed job has `error: {type, detail}` with the same types. Branch on `type`: it is stable.",
        "Unknown paths and methods return 404 and 405 in the same form; their `type` is the HTTP phrase.",
        "The proxy of compose answers some requests itself, in the same form: [tls.md](tls.md#errors-of-the-proxy).",
        "",
    ]
    return "\n".join([*head, "| type | status | title | when |", "|---|---|---|---|", *rows, ""])


def _default(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value).replace(str(Path.home()), "~")
    return f"`{text}`" if value not in (None, "") else ""


def _leaves(error: type[MaskqError]) -> Iterator[type[MaskqError]]:
    if error.__module__ == errors.__name__:
        yield error
    for child in error.__subclasses__():
        yield from _leaves(child)


PAGES = {"settings.md": settings_page, "errors.md": errors_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
