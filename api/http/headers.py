"""Reads request headers that say what a client wants, and writes entity tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shared.errors import InvalidField

MAX_IDEMPOTENCY_KEY_CHARS = 255
_MAX_CHARS = 1_000
"""Longest header that is read here; real ones are far shorter. Bounds the time that the patterns take."""
_ELEMENT = re.compile(r'(?:[^,"]|"(?:\\.?|[^"\\])*(?:"|$))+')
"""With quotes that may lack their end: it would be sought anew from each quote."""
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"(\d{1,6})"|(\d{1,6}))\s*(?:;.*)?', re.IGNORECASE | re.ASCII | re.DOTALL)
_WAIT_NAME = re.compile(r"\s*wait\s*(?:[=;]|$)", re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def idempotency_key(headers: Mapping[str, str]) -> str:
    """The header `Idempotency-Key`, or "". Any printable ASCII is allowed; a UUID is a good choice.

    Raises:
        InvalidField: it is too long or has other characters.
    """
    key = headers.get("idempotency-key", "")
    if len(key) > MAX_IDEMPOTENCY_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise InvalidField(f"Idempotency-Key: must be at most {MAX_IDEMPOTENCY_KEY_CHARS} printable ASCII characters")
    return key


def preferred_wait_s(prefer: Sequence[str], max_s: float) -> float:
    """Seconds to wait that the `Prefer` headers of a request ask for (RFC 7240, section 4.3), at most `max_s`; else 0.

    The first `wait` counts. One that cannot be read is ignored, as the RFC requires.
    """
    header = ",".join(prefer)
    if len(header) > _MAX_CHARS:
        return 0
    waits = [element for element in _ELEMENT.findall(header) if _WAIT_NAME.match(element)]
    match = _WAIT.fullmatch(waits[0]) if waits else None
    return min(float(match[1] or match[2]), max_s) if match else 0


def weak_entity_tag(version: str) -> str:
    """The `ETag` of a version. It is weak because the same state may be written with another queue position."""
    return f'W/"{version}"'


def is_known(if_none_match: str | None, version: str) -> bool:
    """Whether `If-None-Match` names this version or is `*` (RFC 9110, section 13.1.2: weak comparison).

    A header that cannot be read names none.
    """
    if if_none_match is None or len(if_none_match) > _MAX_CHARS:
        return False
    return if_none_match.strip() == "*" or version in _ENTITY_TAG.findall(if_none_match)
