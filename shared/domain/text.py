"""Text from clients: characters that nobody sees."""

from __future__ import annotations

import re
import unicodedata

_FLAG = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)")
"""The flag of a region, as of Wales: its letters are format characters."""
_JOINERS = "\u200c\u200d"
_USELESS_JOINERS = re.compile(f"(^|(?<=[\\x00-\\x7f]))[{_JOINERS}]+|[{_JOINERS}]+(?=[\\x00-\\x7f]|$)")
"""Joiners that join nothing: Persian words and families of emoji need some, and neither has ASCII on a side of them."""


def without_format_characters(text: str) -> str:
    """Drop byte order marks, soft hyphens, marks of direction and the like; keep what words and emoji are made of."""
    pieces = _FLAG.split(text)
    pieces[::2] = ["".join(each for each in piece if _is_kept(each)) for piece in pieces[::2]]
    return _USELESS_JOINERS.sub("", "".join(pieces))


def _is_kept(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) != "Cf"
