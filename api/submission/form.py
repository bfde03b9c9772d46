"""Reads multipart forms (RFC 7578) within limits, and only whole ones."""

from __future__ import annotations

from collections import defaultdict

from fastapi import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from shared.errors import InvalidField, MalformedRequest

_MAX_PARTS = 64
"""Several times what there is to say: clients may add fields of their own, and repeat `mask_format`."""


async def read_form(request: Request, boundary: str, max_field_bytes: int) -> dict[str, object]:
    """The fields of a form: text as `str`, files as `bytes`, and a list of them where a name is given more than once.

    Raises:
        MalformedRequest: no form, or one that ends too early, has too many parts or too long ones.
        InvalidField: a text that is not UTF-8.
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
                        fields[part.name].append(_value(part, b"".join(content), max_field_bytes))
    except MultipartError as error:
        raise MalformedRequest(f"the form could not be read: {error.args[0]}") from error
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _value(part: MultipartSegment, content: bytes, max_field_bytes: int) -> str | bytes:
    if part.filename is not None:
        return content
    if len(content) > max_field_bytes:
        raise MalformedRequest("a field of the form is too long")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidField("a field of the form is not UTF-8") from None
