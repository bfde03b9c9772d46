"""Text from anywhere as one line that is safe in a log and on a terminal."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

_CAUSE = "The error above caused this one:"
_CONTEXT = "While the error above was handled, this one occurred:"


def printable(text: str) -> str:
    """The text with an escape such as `\\n`, `\\x1b` or `\\u202e` for each character that does not print: line breaks,
    terminal controls, marks that reverse or hide text, and halves of surrogate pairs."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def printable_traceback(error: BaseException, trace: TracebackType | None) -> str:
    """The traceback of an exception and of those that led to it. Each message is one line: it may quote a client."""
    return "\n".join(_lines(traceback.TracebackException(type(error), error, trace)))


def _lines(error: traceback.TracebackException) -> Iterator[str]:
    if error.__cause__ is not None:
        yield from [*_lines(error.__cause__), _CAUSE]
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from [*_lines(error.__context__), _CONTEXT]
    if error.stack:
        yield "Traceback (most recent call last):"
    for frame in error.stack.format():
        yield from map(printable, frame.splitlines())
    yield printable("".join(error.format_exception_only()).strip("\n"))
    for part in error.exceptions or ():
        yield from (f"  {line}" for line in _lines(part))
