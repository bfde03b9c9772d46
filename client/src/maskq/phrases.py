"""Between labels and what the model is asked for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

MAX_PROMPT_CHARS = 512
"""Longest prompt that the service accepts."""
_SEPARATOR = " ; "
_TASK = "segment"
_OTHER_TASKS = frozenset({"answer", "cap", "caption", "describe", "detect", "ocr", "question"})
"""As the first word of a phrase, the service takes these for tasks of the model that it does not serve."""
_MARKS = " .,:!?\"'`"


def phrases_of(text: str) -> list[str]:
    """What a prompt names, one by one: `cat ; dog` -> cat, dog."""
    return [phrase for phrase in map(str.strip, text.replace("\n", ";").split(";")) if key_of(phrase)]


def key_of(phrase: str) -> str:
    """What two spellings of a phrase have in common. The service writes phrases a little differently."""
    text = " ".join(unicodedata.normalize("NFKC", phrase).split()).strip(_MARKS)
    return text.casefold()


def prompts_of(phrases: Iterable[str]) -> list[list[str]]:
    """The phrases in groups, each of which fits into one prompt. A repeated phrase is left out."""
    groups: list[list[str]] = []
    for phrase in {key_of(each): each for each in phrases}.values():
        if not groups or len(prompt_of([*groups[-1], phrase])) > MAX_PROMPT_CHARS:
            groups.append([])
        groups[-1].append(phrase)
    return groups


def prompt_of(phrases: Sequence[str]) -> str:
    """One prompt for these phrases."""
    return _SEPARATOR.join(map(_as_thing, phrases))


def _as_thing(phrase: str) -> str:
    """The phrase so that the service takes it for a thing: `caption` may be the name of one."""
    return f"{_TASK} {phrase}" if key_of(phrase.split(maxsplit=1)[0]) in _OTHER_TASKS else phrase
