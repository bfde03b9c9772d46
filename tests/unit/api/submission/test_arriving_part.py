"""Parts of forms that arrive in pieces of any size."""

from __future__ import annotations

import pytest
from multipart import PushMultipartParser

from api.http.request_memory import RequestMemory
from api.shares import Shares
from api.submission.arriving_part import ArrivingPart
from api.submission.form import Part
from shared.settings import Settings


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 5])
def test_a_zip_is_recognized_wherever_its_first_bytes_are_cut(first: int) -> None:
    settings = Settings.of().submissions
    memory = RequestMemory(Shares(settings.upload_memory_bytes, "images in memory"))
    head = b'--b\r\nContent-Disposition: form-data; name="image_file"; filename="a.zip"\r\n\r\n'
    segment = next(iter(PushMultipartParser("b").parse(head)))
    part = ArrivingPart(Part(segment, []), is_image=True, limits=settings, memory=memory)
    content = b"PK\x03\x04 and more"
    part.add(content[:first])
    part.add(content[first:])
    assert part.max_bytes == settings.max_zip_bytes


def test_what_only_begins_as_a_zip_is_none() -> None:
    settings = Settings.of().submissions
    memory = RequestMemory(Shares(settings.upload_memory_bytes, "images in memory"))
    head = b'--b\r\nContent-Disposition: form-data; name="image_file"; filename="a.zip"\r\n\r\n'
    segment = next(iter(PushMultipartParser("b").parse(head)))
    part = ArrivingPart(Part(segment, []), is_image=True, limits=settings, memory=memory)
    for piece in (b"P", b"K", b"P", b"K\x03\x04"):
        part.add(piece)
    assert part.max_bytes == settings.max_body_bytes
