"""Text that clients chose stays on its line and controls no terminal."""

from __future__ import annotations

import unicodedata

import pytest

from shared.process.printable import printable, printable_traceback

_FORGED = "2026-01-01T00:00:00Z [info     ] forged"


@pytest.mark.parametrize("text", ["", "GET /segment/ 202", "Ärger mit 图像, émoji \U0001f408", "a\\nb", "'\"<>|"])
def test_what_prints_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb\r\t\0", "a\\nb\\r\\t\\x00"),
        ("\x1b[2J\x9b31m\x07\x7f", "\\x1b[2J\\x9b31m\\x07\\x7f"),
        ("\x85\u2028\u2029\x0b\x0c", "\\x85\\u2028\\u2029\\x0b\\x0c"),
        ("\u202e\u2066\u200b\u200e\ufeff\u00ad", "\\u202e\\u2066\\u200b\\u200e\\ufeff\\xad"),
        ("\ud800 \udfff", "\\ud800 \\udfff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_does_not_print_is_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_no_character_that_controls_or_hides_is_left() -> None:
    for code in range(0x110000):
        written = printable(chr(code))
        assert all(unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in written)
        assert len(written.splitlines()) <= 1


def _raise(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def _raise_chain() -> None:
    try:
        _raise(KeyError(f"context\x1b[2J\n{_FORGED}"), ValueError(f"cause\n{_FORGED}"))
    except KeyError:
        parts = [OSError(f"part\n{_FORGED}"), RuntimeError("\u2028")]
        raise ExceptionGroup(f"group\n{_FORGED}", parts)  # noqa: B904  its context is to be written


def test_messages_in_a_traceback_are_one_line_each() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        _raise_chain()
    text = printable_traceback(caught.value, caught.tb)
    assert not any(line.strip().startswith("2026") for line in text.splitlines())
    for part in (
        "group\\n2026",
        "cause\\n2026",
        "context\\x1b",
        "part\\n2026",
        "RuntimeError: \\u2028",
        "_raise_chain",
    ):
        assert part in text


@pytest.mark.parametrize("suppresses", [True, False])
def test_a_traceback_has_what_led_to_the_error(suppresses: bool) -> None:
    error = KeyError("second")
    error.__context__ = ValueError("first\n")
    error.__suppress_context__ = suppresses
    assert ("ValueError: first" in printable_traceback(error, None)) != suppresses


def test_notes_and_syntax_errors_are_one_line_each() -> None:
    error = SyntaxError(f"wrong\n{_FORGED}", ("a\nb", 1, 1, f"code\n{_FORGED}"))
    error.add_note(f"note\n{_FORGED}")
    assert len(printable_traceback(error, None).splitlines()) == 1


def test_an_error_that_cannot_be_written_is_no_error() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Broken" in printable_traceback(Broken(), None)
