"""Reads forms in `application/x-www-form-urlencoded`: what `curl -d` and plain HTML forms send. They carry no files."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import Request

from api.submission.form import MAX_FIELD_BYTES, MAX_PARTS
from shared.errors import MalformedRequest, PayloadTooLarge


async def read_urlencoded(request: Request) -> dict[str, object]:
    """The fields of a form as `str`, and a list of them where a name is given more than once.

    Raises:
        PayloadTooLarge: the body has more than `MAX_FIELD_BYTES`.
        MalformedRequest: the body is JSON, is not UTF-8, or has too many fields.
    """
    body = bytearray()
    async for received in request.stream():
        body += received
        if body.lstrip()[:1] == b"{":
            raise MalformedRequest("this is JSON, and not a form: send it with Content-Type: application/json")
        if len(body) > MAX_FIELD_BYTES:
            raise PayloadTooLarge(
                f"a form in this encoding has at most {MAX_FIELD_BYTES:,} bytes; send an image as multipart/form-data"
            )
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARTS)
    except ValueError:
        raise MalformedRequest(
            f"the form is not UTF-8, or has more than {MAX_PARTS} fields; send an image as multipart/form-data"
        ) from None
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items() if name}
