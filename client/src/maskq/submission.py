"""From the arguments of a call to the request that submits a job."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict
from urllib.parse import quote
from uuid import uuid4

from maskq.images import ImageInput, Part, Upload, sendable, upload_of
from maskq.steps import SUBMIT, Request
from maskq.typed import Json

_RLE = "rle"
_FETCH_S, _STORE_S = 2.0, 0.1
"""How long the service may take for each image of a batch before it answers: to fetch a URL, and to store a file."""
_PRINTABLE = string.punctuation + " "
"""What a header can carry beside letters and digits. Other characters of an idempotency key are escaped."""


class BatchOptions(TypedDict, total=False):
    """What may be said about jobs beside their images and their prompt. docs/api.md explains the fields of the service;
    a field that this version of the client does not know is sent as it is."""

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
    """The same key with the same request returns the same job, or batch, for one day. Default: a new UUID."""


class SubmitOptions(BatchOptions, total=False):
    """The same for one job."""

    file_name: str
    """The name under which the image is sent. Default: that of the file."""


def submission(image: ImageInput, prompt: str, wait_s: float, options: Mapping[str, Any]) -> Request:
    """The request that submits a job and waits up to `wait_s` seconds for its end. Each call makes a new idempotency
    key, unless the options have one.

    Raises:
        ImageError, MissingPackage: as `upload_of`.
    """
    part = upload_of(image).part(options.get("file_name"))
    prefer = {"Prefer": f"wait={max(1, round(wait_s))}"} if wait_s > 0 else {}
    request = _request("/segment/", [part], prompt, options)
    return replace(request, headers={**request.headers, **prefer}, wait_s=wait_s)


def batch_submission(images: Sequence[Upload], prompt: str, options: Mapping[str, Any]) -> Request:
    """The request that submits a job for each image. A repeated one adds only the images that are missing."""
    request = _request("/batches", [image.part() for image in images], prompt, options)
    return replace(request, wait_s=sum(_FETCH_S if image.url else _STORE_S for image in images))


def _request(path: str, parts: Sequence[Part], prompt: str, options: Mapping[str, Any]) -> Request:
    if not isinstance(prompt, str):
        raise TypeError(f"a prompt is a text such as 'cat ; dog', not {type(prompt).__name__}")
    given = {name: value for name, value in options.items() if value is not None and name != "file_name"}
    key = quote(str(given.pop("idempotency_key", "") or uuid4()), safe=_PRINTABLE, errors="surrogateescape")
    return Request(
        method="POST",
        path=path,
        headers={"Idempotency-Key": key},
        fields={"prompt": sendable(prompt), **_texts(given)},
        files=parts,
        kind=SUBMIT,
        cost=max(1, len(parts)),
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
