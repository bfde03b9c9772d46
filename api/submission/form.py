"""Reads multipart forms (RFC 7578), with limits. An incomplete form is refused."""

from __future__ import annotations

from collections import defaultdict

from fastapi import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from shared.errors import InvalidField, MalformedRequest

_MAX_PARTS = 64
"""Several times the number of known fields: clients may add fields of their own, and repeat `mask_format`."""
_MAX_FIELD_BYTES = 65_536
"""Longest text field."""


async def read_form(request: Request, boundary: str) -> dict[str, object]:
    """The fields of a form: text as `str`, files as `bytes`, and a list of them where a name is given more than once.

    Raises:
        MalformedRequest: the body is not a form, ends too early, or has too many parts or too long ones.
        InvalidField: a text is not UTF-8.
    """
    fields: defaultdict[str, list[str | bytes]] = defaultdict(list)
    try:
        with PushMultipartParser(boundary, max_segment_count=_MAX_PARTS) as parser:
            async for received in request.stream():
                for event in parser.parse(received):
                    if isinstance(event, MultipartSegment):
                        part, content = event, list[bytes]()
                    elif event is not None:
                        content.append(event)
                    else:
                        fields[part.name].append(_value(part, b"".join(content)))
    except MultipartError as error:
        raise MalformedRequest(f"the form could not be read: {error.args[0]}") from error
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _value(part: MultipartSegment, content: bytes) -> str | bytes:
    if part.filename is not None:
        return content
    if len(content) > _MAX_FIELD_BYTES:
        raise MalformedRequest(f"a field of the form has more than {_MAX_FIELD_BYTES:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidField("a field of the form is not UTF-8") from None
