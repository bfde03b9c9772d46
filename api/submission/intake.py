"""From an HTTP request to a validated submission. Whatever is wrong with a request is said here."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from fastapi import Request
from multipart import parse_options_header

from api.submission.fetch_image import ImageFetcher
from api.submission.form import read_form
from shared.domain.job import MAX_TIMEOUT_S, JobRequest, MaskFormat, Priority, new_job_id
from shared.domain.prompt import normalize_prompt
from shared.domain.webhook import Webhook, WebhookEvent
from shared.errors import InvalidField, MalformedRequest, PayloadTooLarge, UnsupportedImage
from shared.images.inspect import inspect_image
from shared.outbound import MAX_URL_CHARS, Outbound
from shared.settings import Settings
from shared.store.new_job import NewJob

if TYPE_CHECKING:
    from api.auth.caller import Caller  # which needs the services, and they this

_FORM = "multipart/form-data"
_JSON = "application/json"
_SOURCES = {_FORM: ("image_file", "image_url"), _JSON: ("image_base64", "image_url")}
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
"""Python knows a hundred more, and some of them take quadratic time: Punycode, a second for a field of 64 kB."""
_MAX_KEY_CHARS = 255
_OVERHEAD_BYTES = 65_536
"""For the form's boundaries and the fields beside the image."""


def max_body_bytes(settings: Settings) -> int:
    """The longest body a submission can need: a full-size image as base64, and the fields beside it."""
    return settings.submissions.max_image_bytes * 4 // 3 + _OVERHEAD_BYTES


class Intake:
    """Reads submissions for the models of this deployment."""

    def __init__(
        self, settings: Settings, model_ids: Sequence[str], fetcher: ImageFetcher, receivers: Outbound
    ) -> None:
        """The first of `model_ids` is what a submission is for unless it says otherwise. `receivers` judges where
        webhooks may go."""
        self._settings = settings
        self._model_ids = model_ids
        self._fetcher = fetcher
        self._receivers = receivers

    async def read(self, request: Request, caller: Caller) -> NewJob:
        """Read and check a submission of this caller, a form or JSON, and give it an id.

        Raises:
            MalformedRequest, InvalidField, UrlRefused, PayloadTooLarge, ImageTooLarge, UnsupportedImage,
            ImageUnreadable: as their docstrings say.
        """
        kind, parameters = parse_options_header(request.headers.get("content-type", ""))
        if parameters.get("charset", "utf-8").lower() not in _CHARSETS:
            raise MalformedRequest("the charset of a request must be UTF-8")
        if kind == _FORM:
            fields = await read_form(request, parameters.get("boundary", ""), _OVERHEAD_BYTES)
        elif kind == _JSON:
            fields = await _read_json(request)
        else:
            raise MalformedRequest(f"send {_FORM} or {_JSON}, and say so in Content-Type")
        job = self._job_request(fields)
        webhook = await self._webhook(fields, str(request.base_url))
        image = await self._image(fields, _SOURCES[kind])
        inspect_image(image, self._settings.images.max_image_pixels)
        return NewJob(
            id=new_job_id(),
            request=job,
            image=image,
            owner=caller.owner,
            share=caller.share,
            timeout_s=self._timeout_s(fields),
            idempotency_key=_idempotency_key(request),
            webhook=webhook,
        )

    def _job_request(self, fields: Mapping[str, object]) -> JobRequest:
        model_id = _text(fields, "model_id", default=self._model_ids[0])
        if model_id not in self._model_ids:
            raise InvalidField(f"model_id: this deployment serves {', '.join(self._model_ids)}; see GET /models")
        prompt = normalize_prompt(_text(fields, "prompt"))
        return JobRequest(
            model_id=model_id, prompt=prompt, mask_formats=_mask_formats(fields), priority=_priority(fields)
        )

    def _timeout_s(self, fields: Mapping[str, object]) -> float | None:
        """The field `timeout`: a number in JSON, its digits in a form."""
        longest = MAX_TIMEOUT_S
        try:
            seconds = float(cast(str, fields["timeout"])) if "timeout" in fields else None
        except (TypeError, ValueError, OverflowError):
            seconds = -1
        if seconds is not None and not 0 < seconds <= longest:
            raise InvalidField(f"timeout: must be a number of seconds above 0 and at most {longest}")
        return seconds

    async def _webhook(self, fields: Mapping[str, object], base_url: str) -> Webhook | None:
        """The fields `webhook_url` and `webhook_events`. The URL is judged now, and again at each delivery."""
        url = _text(fields, "webhook_url", default="")
        _check_events(fields)
        if not url:
            return None
        if len(base_url) > MAX_URL_CHARS:
            raise MalformedRequest("the Host header is too long")
        await self._receivers.check(url)
        return Webhook(url=url, base_url=base_url)

    async def _image(self, fields: Mapping[str, object], sources: tuple[str, ...]) -> bytes:
        given = [name for name in sources if fields.get(name) not in (None, b"", "")]
        if len(given) != 1 or isinstance(fields[given[0]], list):
            if not given and any(fields.get(name) == b"" for name in sources):
                raise UnsupportedImage("image_file: the file is empty")
            raise InvalidField(f"{' or '.join(sources)}: send exactly one image")
        if given == ["image_file"]:
            return self._bounded(_file(fields))
        text = _text(fields, given[0])
        return await self._fetcher.fetch(text) if given == ["image_url"] else self._bounded(_from_base64(text))

    def _bounded(self, image: bytes) -> bytes:
        limit = self._settings.submissions.max_image_bytes
        if len(image) > limit:
            raise PayloadTooLarge(f"the image has {len(image):,} bytes; at most {limit:,} are allowed")
        return image


def _file(fields: Mapping[str, object]) -> bytes:
    content = fields["image_file"]
    if not isinstance(content, bytes):
        raise InvalidField("image_file: must be a file part, with a filename")
    return content


def _text(fields: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if value is None:
        raise InvalidField(f"{name}: is required")
    if not isinstance(value, str):
        raise InvalidField(f"{name}: must be text, given once")
    return value


def _names(fields: Mapping[str, object], name: str, default: str) -> list[str]:
    """A field that takes several names: a form repeats it or joins them with commas; JSON may use a list."""
    names = [part.strip() for text in _as_list(fields.get(name, default)) for part in str(text).split(",")]
    if not names:
        raise InvalidField(f"{name}: must name at least one")
    return names


def _mask_formats(fields: Mapping[str, object]) -> tuple[MaskFormat, ...]:
    """The formats asked for, each once."""
    try:
        return tuple(dict.fromkeys(MaskFormat(name) for name in _names(fields, "mask_format", MaskFormat.RLE)))
    except ValueError:
        raise InvalidField(f"mask_format: must be among {', '.join(MaskFormat)}") from None


def _check_events(fields: Mapping[str, object]) -> None:
    """There is one event so far; a client may name it, like `mask_format` in either way."""
    if not set(_names(fields, "webhook_events", WebhookEvent.JOB_COMPLETED)) <= set(WebhookEvent):
        raise InvalidField(f"webhook_events: must be among {', '.join(WebhookEvent)}")


def _priority(fields: Mapping[str, object]) -> Priority:
    try:
        return Priority(_text(fields, "priority", default=Priority.NORMAL))
    except ValueError:
        raise InvalidField(f"priority: must be one of {', '.join(Priority)}") from None


def _idempotency_key(request: Request) -> str:
    """The header of that name, or nothing. Any printable ASCII will do; a UUID is a good choice."""
    key = request.headers.get("idempotency-key", "")
    if len(key) > _MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise InvalidField(f"Idempotency-Key: must be at most {_MAX_KEY_CHARS} printable ASCII characters")
    return key


async def _read_json(request: Request) -> dict[str, object]:
    try:
        fields = json.loads(await request.body(), object_pairs_hook=_each_name_once)
    except (ValueError, RecursionError):
        raise MalformedRequest("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedRequest("the body must be a JSON object")
    return {name: value for name, value in fields.items() if value is not None}


def _each_name_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Of a name given twice some programs take the first, some the last: so we take neither."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedRequest("a name is given twice in a JSON object")
    return fields


def _from_base64(text: str) -> bytes:
    """Decode base64, a `data:` URL's included."""
    try:
        return base64.b64decode(text.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidField("image_base64: is not base64") from None


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
