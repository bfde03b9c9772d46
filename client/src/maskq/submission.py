"""From the arguments of a call to the request that submits a job."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import quote
from uuid import uuid4

from maskq.images import ImageInput, sendable, upload_of
from maskq.steps import SUBMIT, Request
from maskq.typed import Json

_RLE = "rle"
_PRINTABLE = string.punctuation + " "
"""What a header can carry beside letters and digits. Other characters of an idempotency key are escaped."""


class SubmitOptions(TypedDict, total=False):
    """What may be said about a job beside its image and its prompt. docs/api.md explains the fields of the service; a
    field that this version of the client does not know is sent as it is."""

    model_id: str
    """A model of `models()`. Default: the first one."""
    mask_format: str | Sequence[str]
    """`rle` (default), `polygon`, `png`, `crop`, `labelstudio` or several. The client always asks for `rle` as well."""
    from_name: str
    """For Label Studio: name of the control tag `<BrushLabels>`. Default: `tag`."""
    to_name: str
    """For Label Studio: name of the object tag `<Image>`. Default: `image`."""
    tiles: str
    """Parts of the image that the model sees one by one: `auto` (default), `1`, or COLUMNSxROWS such as `3x1`."""
    duplicates: str
    """An object that the model names twice: `merge` (default) or `keep`."""
    score_threshold: float | Mapping[str, float]
    """Objects with a lower score, 0 to 1, are left out; also by phrase of the prompt. Default: 0."""
    priority: str
    """`high`, `normal` (default) or `low`."""
    timeout: float
    """Seconds until the service cancels the job if it has not ended. Default: none."""
    webhook_url: str
    """Where the service sends a message when the job has ended."""
    ref: str
    """Your own name for the job, at most 200 characters."""
    metadata: Json
    """A JSON object of your own, at most 4,096 bytes."""
    idempotency_key: str
    """The same key with the same request returns the same job for one day. Default: a new UUID."""
    file_name: str
    """The name under which the image is sent. Default: that of the file."""


def submission(image: ImageInput, prompt: str, wait_s: float, options: Mapping[str, Any]) -> Request:
    """The request that submits a job and waits up to `wait_s` seconds for its end. Each call makes a new idempotency
    key, unless the options have one.

    Raises:
        ImageError, MissingPackage: as `upload_of`.
    """
    upload = upload_of(image)
    given = {name: value for name, value in options.items() if value is not None}
    key = quote(str(given.pop("idempotency_key", "") or uuid4()), safe=_PRINTABLE, errors="surrogateescape")
    file_name = given.pop("file_name", None)
    prefer = {"Prefer": f"wait={max(1, round(wait_s))}"} if wait_s > 0 else {}
    return Request(
        method="POST",
        path="/segment/",
        headers={"Idempotency-Key": key, **prefer},
        fields={"prompt": sendable(prompt), **upload.fields, **_texts(given)},
        file=upload.file(file_name),
        wait_s=wait_s,
        kind=SUBMIT,
    )


def _texts(options: Mapping[str, Any]) -> dict[str, str | list[str]]:
    texts = {name: _text(value) for name, value in options.items()}
    if formats := options.get("mask_format"):
        texts["mask_format"] = _with_rle(formats.split(",") if isinstance(formats, str) else formats)
    return texts


def _with_rle(formats: Sequence[str]) -> list[str]:
    """The formats, and run lengths behind them: `Segment.mask` is made of those."""
    names = [str(name).strip() for name in formats]
    return names if _RLE in names else [*names, _RLE]


def _text(value: Any) -> str | list[str]:
    """A value as a form has it: lists as repeated fields, objects as JSON."""
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, (list, tuple)):
        return [sendable(str(each)) for each in value]
    return sendable(str(value))
