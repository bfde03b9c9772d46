"""Reads multipart forms (RFC 7578) within limits, and only whole ones."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from shared.errors import MalformedRequest

_MAX_FIELDS = 64
"""Several times what there is to say: clients may add fields of their own, and repeat `mask_format`."""
_MAX_FILES = 2
"""One is what we take; the second tells a client what is wrong with two."""


async def read_form(request: Request, max_field_bytes: int) -> dict[str, object]:
    """The fields of a form: text as `str`, files as `bytes`, and a list of them where a name is given more than once.

    Raises:
        MalformedRequest: no form, or one that ends too early, has too many parts or too long ones.
    """
    parser = _WholeFormParser(
        request.headers,
        request.stream(),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=max_field_bytes,
    )
    try:
        form = await parser.parse()
        return await _by_name(form)
    except MultiPartException as error:
        raise MalformedRequest(f"the form could not be read: {error.message}") from error
    finally:
        parser.close()


async def _by_name(form: FormData) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in form.multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value
        given = fields.get(name, [])
        fields[name] = [*(given if isinstance(given, list) else [given]), content] if name in fields else content
    return fields


class _WholeFormParser(MultiPartParser):
    """Starlette's, which takes a form without its end for a form, and leaves the file that was cut off open."""

    _is_whole = False

    def on_end(self) -> None:
        self._is_whole = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._is_whole:
            raise MultiPartException("it ends too early")
        return form

    def close(self) -> None:
        """Give up the files, whatever became of the form."""
        for file in self._files_to_close_on_error:
            file.close()
