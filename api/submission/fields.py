"""The types of the fields of a submission: each has its check and its JSON schema.

A check raises `ValueError` with the reason; pydantic collects those, and `submission.validate` adds the field's name.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from api.submission.base64_text import decode_base64
from shared.domain.job import MAX_TIMEOUT_S, MaskFormat, Priority
from shared.domain.prompt import MAX_PROMPT_CHARS, normalize_prompt
from shared.domain.webhook import WebhookEvent
from shared.errors import PayloadTooLarge
from shared.outbound import MAX_URL_CHARS


@dataclass(frozen=True)
class DeploymentLimits:
    """The limits that depend on the deployment: the context of validation."""

    model_ids: Sequence[str]
    max_image_bytes: int


def _text(value: object) -> str:
    if value is None:
        raise ValueError("is required")
    if not isinstance(value, str):
        raise ValueError("must be text, given once")  # noqa: TRY004  pydantic collects ValueErrors only
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _prompt(value: object) -> str:
    return normalize_prompt(_text(value))


def _served(model_id: str, info: ValidationInfo) -> str:
    model_ids = _limits(info).model_ids
    if model_id not in model_ids:
        raise ValueError(f"this deployment serves {', '.join(model_ids)}; see GET /models")
    return model_id


def _names(value: object) -> list[str]:
    """Split a field that takes several names. A form repeats it or joins them with commas; JSON may use a list."""
    values = value if isinstance(value, list) else [value]
    texts = [each for each in values if isinstance(each, str)]
    if len(texts) < len(values):
        raise ValueError("must be text, or a list of texts")
    if not texts:
        raise ValueError("must name at least one")
    return list(dict.fromkeys(name.strip() for text in texts for name in text.split(",")))


def _file(value: object, info: ValidationInfo) -> bytes | None:
    if not isinstance(value, bytes | None):
        raise ValueError("must be one file part, with a filename")  # noqa: TRY004  pydantic collects ValueErrors only
    return _bounded(value, info) if value else value


def _base64(value: object, info: ValidationInfo) -> bytes | None:
    """Decode base64, with or without the head of a `data:` URL. A long text comes as bytes."""
    text = value if isinstance(value, bytes) else _optional_text(value)
    if not text:
        return None
    try:
        return _bounded(decode_base64(text if isinstance(text, bytes) else text.encode()), info)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None


def _bounded(image: bytes, info: ValidationInfo) -> bytes:
    limit = _limits(info).max_image_bytes
    if len(image) > limit:
        raise PayloadTooLarge(f"the image has {len(image):,} bytes; at most {limit:,} are allowed")
    return image


def _limits(info: ValidationInfo) -> DeploymentLimits:
    return cast(DeploymentLimits, info.context)


def _string(format_: str, **keywords: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": format_, **keywords})


_Name = TypeVar("_Name")
_Several = Annotated[list[_Name], Field(min_length=1)]

# --- The types ------------------------------------------------------------------------------------------------------

Prompt = Annotated[str, PlainValidator(_prompt), _string("prompt", minLength=1, maxLength=MAX_PROMPT_CHARS)]
ImageUrl = Annotated[str | None, PlainValidator(_optional_text), _string("uri", maxLength=MAX_URL_CHARS)]
WebhookUrl = Annotated[str, PlainValidator(_text), _string("uri-or-empty", maxLength=MAX_URL_CHARS)]
ModelId = Annotated[str, PlainValidator(_text), AfterValidator(_served), _string("model")]
Timeout = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)]
PriorityName = Annotated[Priority, BeforeValidator(_text)]
MaskFormats = Annotated[
    tuple[MaskFormat, ...],
    Field(fail_fast=True),
    BeforeValidator(_names, json_schema_input_type=MaskFormat | _Several[MaskFormat]),
]
Events = Annotated[
    tuple[WebhookEvent, ...],
    Field(fail_fast=True),
    BeforeValidator(_names, json_schema_input_type=WebhookEvent | _Several[WebhookEvent]),
]
File = Annotated[bytes | None, PlainValidator(_file), _string("binary")]
Base64 = Annotated[bytes | None, PlainValidator(_base64), _string("byte")]
