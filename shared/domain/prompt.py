"""From the text of a client to a prompt in the form that the model was trained on: `segment cat ; dog`."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

from shared.domain.paligemma import RESERVED_TOKEN, TASK, write_prompt
from shared.domain.text import without_format_characters
from shared.errors import InvalidField

MAX_PROMPT_CHARS = 512
"""Maximum length of a prompt, as sent."""

_REFUSED = frozenset({"Cc", "Cs", "Co"})
"""Control characters, surrogates and private use. Unassigned characters pass, because they may be new emoji."""
_NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NONCHARACTER = re.compile(f"[\ufdd0-\ufdef{_NONCHARACTERS}]")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[0-9a-f]{1,6});", re.I)
"""A character as HTML writes it. Its `;` must not separate phrases."""
_ESCAPES = {r"(?<!\\)\\+[nr]": "\n", r"(?<!\\)\\+t": " ", r"(?<!\\)\\+(?=[\"'])": ""}
"""Line ends and quotes of a text that was escaped once too often. From the first `\\` only: else quadratic time."""
_IMAGE = re.compile(r"(\s*<image>)+(\s*<bos>)?\s*", re.I)
"""What other programs put in front of a prompt, for the image."""
_SEPARATOR = re.compile("[;\u061b]")
"""With the Arabic semicolon. NFKC turns all others into `;`."""
_BULLET = re.compile(r"\s*([-*\u2022\u2023\u25e6\u2013]|\d{1,2}[.)])[ \t]+")
_QUOTED = r"\s*(\"[^\"]*\"|'[^']*')\s*"
_LIST = re.compile(rf"\s*\[{_QUOTED}(,{_QUOTED})*,?\s*\]\s*")
"""A list as JSON and Python write it."""
_INNER_QUOTES = re.compile("['\u2019\u203a]\\s*;\\s*['\u2018\u2039]")
"""Between phrases that are quoted one by one."""
_TASK = re.compile(rf"({TASK}(\s*:\s*|\s+(?!of\b)))+", re.I)
_OTHER_TASK = re.compile(
    r"(detect|caption|describe|ocr)\b|cap\s+[a-z]{2}$"
    r"|(answer|question)(\s*:|\s+[a-z]{2}\s|$|.*\?$|\s+(what|where|who|which|how|why|when|does)\s)",
    re.I,
)
"""A prompt for another task of PaliGemma. `question mark` and `cap` are things."""
_DOUBLE_QUOTES = '"`\u201c\u201d\u201e\u201f\u00ab\u00bb\u300c\u300d\u300e\u300f'
_SINGLE_QUOTES = "'\u2018\u2019\u201a\u2039\u203a"
_FINAL_MARKS = ".,:!?\u3002\u3001\u060c\u061f\u06d4"


def normalize_prompt(text: str) -> str:
    """Return the prompt in the model's form: `cat;dog` and `segment cat ; dog` both give `segment cat ; dog`.

    White space of any kind is one space. Quotes around a phrase and marks at its end are dropped, as are characters
    that nobody sees. Semicolons separate phrases, and so do the lines of a list with bullets or numbers, and the commas
    of one in brackets. Any other comma is part of a phrase. A phrase that is repeated is asked for once.

    Raises:
        InvalidField: the prompt is empty, is longer than `MAX_PROMPT_CHARS`, contains control characters, contains a
            token of the model (the tokenizer would read `<loc0001>` in a prompt as a location), or is for another task.
    """
    _require_length(text, "")
    text = _plain(text)
    _require_length(text, " after Unicode normalization")
    if any(unicodedata.category(each) in _REFUSED for each in text) or _NONCHARACTER.search(text):
        raise InvalidField("prompt: contains control characters, or characters that Unicode does not define")
    text = _unquoted(_without(_IMAGE, _unquoted(text)))
    if token := RESERVED_TOKEN.search(text):
        raise InvalidField(f"prompt: {token.group()} is a token of the model and is not allowed")
    phrases = [_bare(phrase) for phrase in _SEPARATOR.split(text)]
    if other := next(filter(_OTHER_TASK.match, [text, *phrases]), None):
        raise InvalidField(
            f"prompt: only the task `{TASK}` is served; send what to segment, such as `cat`, or, if this is the name of"
            f" a thing, `{TASK} {other[:40]}`"
        )
    phrases = _once(filter(_is_name, (_bare(_without(_TASK, phrase)) for phrase in phrases)))
    if not phrases or [phrase.lower() for phrase in phrases] == [TASK]:
        raise InvalidField("prompt: names nothing to segment; try `cat` or `cat ; dog`")
    return write_prompt(phrases)


def _require_length(text: str, when: str) -> None:
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidField(f"prompt: {len(text)} characters{when}; at most {MAX_PROMPT_CHARS} are allowed")


def _plain(text: str) -> str:
    """The text with its characters as Unicode's NFKC writes them, and with single spaces."""
    text = _ENTITY.sub(lambda match: html.unescape(match.group().lower()), text)
    for escaped, plain in _ESCAPES.items():
        text = re.sub(escaped, plain, text)
    text = _without_list(text)
    return without_format_characters(" ".join(unicodedata.normalize("NFKC", text).split())).strip()


def _without_list(text: str) -> str:
    """The items of a list between semicolons; any other text as it is."""
    if _LIST.fullmatch(text):
        return ";".join(match.group() for match in re.finditer(_QUOTED, text))
    lines = [line for line in text.splitlines() if line.strip()]
    if all(map(_BULLET.match, lines)) and (len(lines) > 1 or not text.lstrip()[:1].isdigit()):  # `2. floor` is a thing
        return ";".join(_without(_BULLET, line) for line in lines)
    return text


def _without(head: re.Pattern[str], text: str) -> str:
    match = head.match(text)
    return text[match.end() :] if match else text


def _bare(phrase: str) -> str:
    """The phrase without quotes around it and without marks at its end."""
    before = None
    while phrase != before:
        before, phrase = phrase, _unquoted(" ".join(phrase.split()).rstrip(_FINAL_MARKS + " "))
    return phrase


def _unquoted(text: str) -> str:
    """The text without quotes around it, and without a single double quote at one end. That of `6"` stays."""
    doubles = sum(map(text.count, _DOUBLE_QUOTES))  # ten times as fast as a loop: quotes may be nested 256 deep
    ends = text[:1] + text[-1:]
    if len(text) > 1 and doubles in (0, 2) and all(each in _SINGLE_QUOTES + _DOUBLE_QUOTES for each in ends):
        return text if ";" in text and _INNER_QUOTES.search(text) else text[1:-1].strip()
    if doubles == 1 and ends[0] in _DOUBLE_QUOTES:
        return text[1:].strip()
    if doubles == 1 and ends[1] in _DOUBLE_QUOTES and not text[-2].isdigit():
        return text[:-1].strip()
    return text


def _once(phrases: Iterable[str]) -> list[str]:
    """Each phrase once, as it is written first."""
    firsts: dict[str, str] = {}
    for phrase in phrases:
        firsts.setdefault(phrase.casefold(), phrase)
    return list(firsts.values())


def _is_name(phrase: str) -> bool:
    """Whether the phrase has a letter, a number, a symbol such as an emoji, or a character that is not assigned yet."""
    return any(unicodedata.category(each)[0] in "LNS" or unicodedata.category(each) == "Cn" for each in phrase)
