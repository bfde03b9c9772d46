"""Reads multipart forms (RFC 7578), with limits. An incomplete form is refused."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from fastapi import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from api.submission.base64_text import decode_base64
from api.submission.data_url import is_data_url
from shared.errors import MalformedRequest

MAX_PARTS = 64
"""Several times the number of fields: clients may repeat `mask_format`."""
MAX_FIELD_BYTES = 65_536
"""Longest text field."""
_LATIN = "iso-8859-1"
_CHARSETS = {"": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", _LATIN: _LATIN, "latin1": _LATIN}
"""Charsets of texts, and of file names."""
_FILE_NAME = re.compile(r";\s*filename\*(?:\d+\*?)?\s*=\s*(?:([\w-]*)'[^']*')?\"?([^;\"]*)", re.I)
"""A file name in percent escapes, with its charset (RFC 5987); some programs send no other one."""
_FILE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
"""Content types of a part that is a file although it has no file name."""


@dataclass(frozen=True)
class FilePart:
    """A file in a form."""

    content: bytes
    name: str = ""
    """As the client sent it; empty if it sent none."""


@dataclass(frozen=True)
class Part:
    """A part of a form, as it arrived."""

    segment: MultipartSegment
    pieces: list[bytes | bytearray]


async def read_parts(request: Request, boundary: str, max_parts: int = MAX_PARTS) -> list[Part]:
    """The parts of a form that have names: at most `max_parts`.

    Raises:
        MalformedRequest: the body is not a form, ends too early, or has too many parts.
    """
    parts: list[Part] = []
    async for event in form_events(request, boundary, max_parts):
        if isinstance(event, MultipartSegment):
            parts.append(Part(event, []))
        elif event is not None:
            parts[-1].pieces.append(event)
    return [part for part in parts if part.segment.name]


async def form_events(
    request: Request, boundary: str, max_parts: int
) -> AsyncIterator[MultipartSegment | bytes | bytearray | None]:
    """The beginning of each part of a form, its pieces, and None at its end, as they arrive.

    Raises:
        MalformedRequest: as `read_parts`.
    """
    try:
        with PushMultipartParser(boundary, max_segment_count=max_parts, header_charset=_LATIN) as parser:
            async for received in request.stream():
                for event in parser.parse(received):
                    yield event
    except MultipartError as error:
        raise MalformedRequest(f"the form could not be read: {error.args[0]}") from error


def form_fields(parts: Sequence[Part]) -> dict[str, object]:
    """The fields of a form: texts as `str`, long `data:` URLs as `bytes`, files as `FilePart`, and a list of them where
    a name is given more than once. Empties the parts. May take some 100 ms, so call it in a thread.

    Raises:
        MalformedRequest: a text is too long, or a part is not in the encoding that it announces.
    """
    fields: defaultdict[str, list[str | bytes | FilePart]] = defaultdict(list)
    for part in parts:
        content = b"".join(part.pieces)
        part.pieces.clear()
        fields[_utf8(part.segment.name)].append(_value(part.segment, _decoded(part.segment, content)))
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _value(part: MultipartSegment, content: bytes) -> str | bytes | FilePart:
    """A part without a file name is a file too, if its type says so or it is no text."""
    name = _file_name(part)
    if name is not None or (part.content_type or "").startswith(_FILE_TYPES) or b"\0" in content[:MAX_FIELD_BYTES]:
        return FilePart(content, name or "")
    if len(content) > MAX_FIELD_BYTES and is_data_url(content):
        return content
    try:
        text = content.decode(_charset(part.charset or ""))
    except UnicodeDecodeError:
        return FilePart(content)
    if len(content) > MAX_FIELD_BYTES:
        raise MalformedRequest(f"a text field of the form has more than {MAX_FIELD_BYTES:,} bytes")
    return text


def _decoded(part: MultipartSegment, content: bytes) -> bytes:
    """The content without its transfer encoding (RFC 7578, section 4.7: old clients have one)."""
    encoding = part.header("Content-Transfer-Encoding", "binary").strip().lower()
    if encoding in ("binary", "8bit", "7bit"):
        return content
    try:
        if encoding == "base64":
            return decode_base64(content)
    except ValueError:
        raise MalformedRequest("a part of the form is not in the base64 that it announces") from None
    raise MalformedRequest("a part of the form has a transfer encoding; send the file as it is")


def _file_name(part: MultipartSegment) -> str | None:
    """The file name of a part; None if it has none."""
    extended = _FILE_NAME.search(part.header("Content-Disposition", ""))
    if not extended:
        return None if part.filename is None else _utf8(part.filename)
    charset, name = extended.groups()
    return unquote(name, _CHARSETS.get((charset or "").lower(), "utf-8"))


def _charset(name: str) -> str:
    if name.lower() not in _CHARSETS:
        raise MalformedRequest("the charset of a text field must be UTF-8")
    return _CHARSETS[name.lower()]


def _utf8(header: str) -> str:
    """The text of a header, which is UTF-8 unless that is impossible."""
    try:
        return header.encode(_LATIN).decode()
    except UnicodeDecodeError:
        return header
