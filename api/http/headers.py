"""Reads the headers that say how a client wants to be answered. What cannot be read is ignored, as the RFCs want it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MAX_CHARS = 1_000
"""No honest client comes near; keeps the time the patterns take small."""
_ELEMENT = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"(\d{1,6})"|(\d{1,6}))\s*(?:;.*)?', re.IGNORECASE | re.ASCII | re.DOTALL)
_WAIT_NAME = re.compile(r"\s*wait\s*(?:[=;]|$)", re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def preferred_wait_s(prefer: Sequence[str], max_s: float) -> float:
    """How many seconds the `Prefer` headers of a request ask to wait for (RFC 7240, section 4.3), at most `max_s`;
    0 if they do not. Of several wishes the first counts, and one that makes no sense is none."""
    header = ",".join(prefer)
    if len(header) > _MAX_CHARS:
        return 0
    wishes = [element for element in _ELEMENT.findall(header) if _WAIT_NAME.match(element)]
    match = _WAIT.fullmatch(wishes[0]) if wishes else None
    return min(float(match[1] or match[2]), max_s) if match else 0


def weak_entity_tag(version: str) -> str:
    """The `ETag` of a version: weak, since the same state may be written with another queue position."""
    return f'W/"{version}"'


def is_known(if_none_match: str | None, version: str) -> bool:
    """Whether `If-None-Match` names this version (RFC 9110, section 13.1.2: weak comparison), or any."""
    if if_none_match is None or len(if_none_match) > _MAX_CHARS:
        return False
    return if_none_match.strip() == "*" or version in _ENTITY_TAG.findall(if_none_match)
