"""Reads JSON objects with one long text, strictly. All but that text is short, so it takes little time and memory."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from itertools import pairwise

from fastapi import Request

from shared.errors import MalformedRequest

_MAX_REST_BYTES = 65_536
"""Longest body without the long text. It bounds the values and the depth of what is parsed."""
_ESCAPES = [(rb"\/", b"/")] + [
    (rb"\u00" + digits, bytes.fromhex(digits.decode())) for digits in (b"2b", b"2B", b"2f", b"2F", b"3d", b"3D")
]
"""How encoders write the characters of base64 that they need not escape."""


async def read_body(request: Request) -> bytearray:
    """The body of a request. It grows in place, without a copy of all its parts."""
    body = bytearray()
    async for part in request.stream():
        body += part
    return body


def parse_json_object(
    body: bytearray, long_names: Sequence[str], max_rest_bytes: int = _MAX_REST_BYTES
) -> dict[str, object]:
    """A body as a JSON object. The text of one of `long_names` may be long; it is ASCII, and stays `bytes` if it is
    long. Empties `body`. May take some 100 ms, so call it in a thread.

    Raises:
        MalformedRequest: the body is not JSON in UTF-8, not an object, has a name twice in one object, or has more than
            `max_rest_bytes` beside the long text.
    """
    start, end = _long_text(body) if len(body) > max_rest_bytes else (0, 0)
    if len(body) - (end - start) > max_rest_bytes:
        raise MalformedRequest(f"not a JSON object with at most {max_rest_bytes:,} bytes beside {long_names[0]}")
    mark = secrets.token_hex(16) if end else ""
    rest = body[:start] + mark.encode() + body[end:]
    long_text = bytes(memoryview(body)[start:end])
    body.clear()
    fields = _parsed(bytes(rest))
    if mark:
        name = next((name for name in long_names if fields.get(name) == mark), None)
        if name is None:
            raise MalformedRequest(f"a text other than {long_names[0]} has more than {max_rest_bytes:,} bytes")
        fields[name] = _unescaped(long_text)
    return fields


def _long_text(body: bytearray) -> tuple[int, int]:
    """Begin and end of the longest text between two quotes, in bytes; (0, 0) if all are short."""
    if len(body) <= _MAX_REST_BYTES or body.count(b'"') > _MAX_REST_BYTES:
        return 0, 0
    quotes = [found.start() for found in re.finditer(b'"', body)]
    begin, end = max(pairwise(quotes), key=lambda pair: pair[1] - pair[0], default=(-1, 0))
    return begin + 1, end


def _unescaped(text: bytes) -> bytes:
    for escaped, character in _ESCAPES if b"\\" in text else ():
        text = text.replace(escaped, character)
    return text


def _parsed(text: bytes) -> dict[str, object]:
    try:
        fields = json.loads(text.decode("utf-8-sig"), object_pairs_hook=with_unique_names)
    except (ValueError, RecursionError):
        raise MalformedRequest("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedRequest("the body must be a JSON object")
    return fields


def with_unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. A name given twice is refused: some programs take the first value, others the last."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedRequest("a name is given twice in a JSON object")
    return fields
