"""The service and its pages use the standard terms of the field, and not the names that maskq once made up for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_PLACES = (
    *("api", "worker", "shared", "webhooks", "client/src", "deploy", "docs", "examples", "scripts"),
    *("README.md", "client/README.md", "Dockerfile.api", "Dockerfile.worker"),
    *("docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.monitoring.yml"),
)
_KINDS = {"", ".py", ".lua", ".md", ".html", ".api", ".worker", ".yml", ".yaml", ".json", ".toml", ".conf", ".tpl"}

_INSTEAD = {
    "doorbells?": "notifier",
    "bells?": "notification",
    "ring(s|ing)?": "notify",
    "rung": "notified",
    "dut(y|ies)": "periodic task",
    "suspects?": "quarantined",
    "lately": "within the liveness window",
    "in hand": "in flight, claimed",
    "hands": "claims",
    "give(n|s)? back": "release",
    "gave back": "released",
    "fares?": "delivery status",
    "exams?": "validation",
    "ceilings?": "upper bound",
    "answerers?": "predictor",
    "fault points?": "failpoint",
    "pace": "mean duration",
    "moves?(?!_to_end)": "transition, script",
    "hold(s|ing)? the line": "long-poll",
    "by commas": "comma-separated",
    "order of service": "fair queue",
}
"""The old words as regular expressions, each with the term to use."""

_EVERYDAY = {
    "ring(s|ing)?": {"shared/domain/result.py", "worker/stages/render.py"},  # the rings of a polygon, as in GeoJSON
    "pace": {"docs/architecture.md", "docs/benchmarks.md"},  # the name of a benchmark
}
"""Reviewed exceptions: files that use a word in another sense."""

_BETWEEN = "[ _\\n#*-]+"
"""What may stand between two words: a space, an underscore, or the end of a line of a comment."""


def _pattern(word: str) -> re.Pattern[str]:
    """Matches the word in prose and in names (`in_hand`, `IN_HAND`), also where a comment breaks the line inside it."""
    return re.compile(f"(?<![a-z]){word.replace(' ', _BETWEEN)}(?![a-z])", re.IGNORECASE)


def _files(root: Path) -> Iterator[Path]:
    for place in _PLACES:
        path = root / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in _KINDS and "__pycache__" not in file.parts:
                yield file


def _uses(text: str, word: str) -> Iterator[str]:
    """Every line of the text in which the word begins, with its number."""
    lines = text.splitlines()
    for match in _pattern(word).finditer(text):
        number = text.count("\n", 0, match.start())
        yield f"{number + 1}: {lines[number].strip()}"


@pytest.mark.parametrize("word", _INSTEAD)
def test_an_old_word_is_used_nowhere(root: Path, word: str) -> None:
    texts = {str(file.relative_to(root)): file.read_text("utf-8") for file in _files(root)}
    checked = {name: text for name, text in texts.items() if name not in _EVERYDAY.get(word, ())}
    found = [f"{name}:{use}" for name, text in checked.items() for use in _uses(text, word)]
    assert not found, f"write: {_INSTEAD[word]}\n" + "\n".join(found)


def test_every_exception_is_needed(root: Path) -> None:
    for word, names in _EVERYDAY.items():
        for name in names:
            assert list(_uses((root / name).read_text("utf-8"), word)), name


@pytest.mark.parametrize("text", ["jobs in hand", "jobs_in_hand", "JOBS_IN_HAND", "# jobs in\n    # hand", "In hand."])
def test_a_word_is_found_in_prose_and_in_names(text: str) -> None:
    assert list(_uses(text, "in hand"))


@pytest.mark.parametrize("text", ["string", "hand", "compare"])
def test_a_part_of_a_word_is_not_found(text: str) -> None:
    assert not list(_uses(text, "ring"))
