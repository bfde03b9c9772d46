"""The types of the fields of a submission: each has its check and its JSON schema.

A check raises `ValueError` with the reason; pydantic collects those, and `submission.validate` adds the field's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from api.submission.base64_text import decode_base64, is_base64_image
from api.submission.client_data import MAX_TAG_CHARS, read_metadata, read_ref, read_tag_name
from api.submission.data_url import decode_data_url, is_data_url
from api.submission.form import FilePart
from api.submission.image_url import to_ascii
from shared.domain.job import MAX_REF_CHARS, MAX_TIMEOUT_S, Duplicates, MaskFormat, Priority
from shared.domain.paligemma import read_prompt
from shared.domain.prompt import MAX_PROMPT_CHARS, normalize_prompt
from shared.domain.tiles import CHOICES, read_tiles
from shared.errors import InvalidField, PayloadTooLarge
from shared.outbound import MAX_URL_CHARS

_NO_FILE = "must be one file part: with curl, -F image_file=@cat.jpg. The address of an image is image_url"
_MAX_PHRASES = MAX_PROMPT_CHARS // 2


@dataclass(frozen=True)
class DeploymentLimits:
    """The limits that depend on the deployment: the context of validation."""

    model_ids: Sequence[str]
    max_image_bytes: int


def _text(value: object) -> str:
    if value is None:
        raise ValueError("is required")
    if isinstance(value, FilePart | bytes):
        raise ValueError("must be text, given once; this is a file, or not UTF-8")  # noqa: TRY004  as below
    if isinstance(value, list):
        raise ValueError("must be text, given once, and not a list")  # noqa: TRY004  as below
    if not isinstance(value, str):
        raise ValueError("must be text, given once")  # noqa: TRY004  pydantic collects ValueErrors only
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _lower_text(value: object) -> str:
    return _text(value).strip().lower()


def _no_bool(value: object) -> object:
    """pydantic takes true for 1."""
    if isinstance(value, bool):
        raise ValueError("is no number")  # noqa: TRY004  pydantic collects ValueErrors only
    return value


def _prompt(value: object) -> str:
    if isinstance(value, list):
        raise ValueError("must be text, given once; separate several things with `;`: `cat ; dog`")  # noqa: TRY004
    try:
        return normalize_prompt(_text(value))
    except InvalidField as error:  # pydantic collects ValueErrors only, and others may be wrong too
        raise ValueError(error.detail.removeprefix("prompt: ")) from None


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
    return list(dict.fromkeys(name.strip().lower() for text in texts for name in text.split(",")))


def _tiles(value: object) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool)  # JSON may write 1 as one
    return read_tiles(str(value) if is_number else _text(value))


def _score_threshold(value: object) -> float | dict[str, float]:
    """A number, or numbers by phrase. A form sends both as text."""
    if isinstance(value, str):
        try:
            value = json.loads(re.sub(r"^\s*\.(?=\d)", "0.", value))  # `.5`
        except ValueError:
            value = None
    if isinstance(value, dict) and len(value) > _MAX_PHRASES:
        raise ValueError(f"names {len(value):,} phrases; a prompt has at most {_MAX_PHRASES}")
    if isinstance(value, dict) and value:
        return {_phrase(phrase): _share(least) for phrase, least in value.items()}
    return _share(value)


def _phrase(text: str) -> str:
    try:
        return read_prompt(normalize_prompt(text))[0]
    except InvalidField:
        raise ValueError("names a phrase that no prompt can have") from None


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError('must be a number from 0 to 1, or such numbers by phrase: {"cat": 0.3, "dog": 0.6}')
    return float(value)


def _file(value: object, info: ValidationInfo) -> FilePart | None:
    """A file part. Scripts in browsers send the `data:` URL of a canvas as its text."""
    if isinstance(value, str | bytes) and is_data_url(value):
        return FilePart(_data(value, info))
    if isinstance(value, bytes):
        value = FilePart(value)
    if not isinstance(value, FilePart | None):
        raise ValueError(_NO_FILE)  # noqa: TRY004  pydantic collects ValueErrors only
    if value:
        _bounded(value.content, info)
    return value


def _base64(value: object, info: ValidationInfo) -> bytes | None:
    """Decode base64, or a `data:` URL. A long text comes as bytes."""
    text = value if isinstance(value, bytes) else (_optional_text(value) or "").encode().strip()
    if not text:
        return None
    if text.startswith((b"http:", b"https:")):
        raise ValueError("is a URL; send it as image_url")
    try:
        image = decode_data_url(text) if is_data_url(text) else decode_base64(text)
    except ValueError:
        raise ValueError("is not base64") from None
    return _bounded(image, info)


def _image_url(value: object, info: ValidationInfo) -> str | bytes | None:
    """The URL as it is sent to its server, or the image itself if it is a `data:` URL. A long one comes as bytes."""
    if isinstance(value, str | bytes) and is_base64_image(value):
        raise ValueError(
            "is base64, and no URL; send it as image_base64 in JSON, or with `data:image/jpeg;base64,` before"
        )
    url = value if isinstance(value, bytes) else to_ascii(_optional_text(value) or "")
    if is_data_url(url):
        return _data(url, info)
    if isinstance(url, bytes):
        raise ValueError("is too long")  # noqa: TRY004  pydantic collects ValueErrors only
    return url or None


def _data(url: str | bytes, info: ValidationInfo) -> bytes:
    """The image in a `data:` URL."""
    try:
        image = decode_data_url(url if isinstance(url, bytes) else url.encode("utf-8", "surrogatepass"))
    except ValueError:
        raise ValueError("is a data: URL that cannot be decoded; see RFC 2397") from None
    return _bounded(image, info)


def _webhook_url(value: object) -> str:
    return to_ascii(_text(value))


def _metadata(value: object) -> str | None:
    """In a form, an empty field is none."""
    return read_metadata(value) if value not in (None, "") else None


def _ref(value: object) -> str | None:
    return read_ref(_optional_text(value) or "") or None


def _tag_name(value: object) -> str:
    return read_tag_name(_text(value))


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
ImageUrl = Annotated[str | bytes | None, PlainValidator(_image_url), _string("uri")]
WebhookUrl = Annotated[str, PlainValidator(_webhook_url), _string("uri-or-empty", maxLength=MAX_URL_CHARS)]
ModelId = Annotated[str, PlainValidator(_text), AfterValidator(_served), _string("model")]
Timeout = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False), BeforeValidator(_no_bool)]
PriorityName = Annotated[Priority, BeforeValidator(_lower_text)]
MaskFormats = Annotated[
    tuple[MaskFormat, ...],
    Field(fail_fast=True),
    BeforeValidator(_names, json_schema_input_type=MaskFormat | _Several[MaskFormat]),
]
_TILES = {"anyOf": [{"type": "string", "enum": list(CHOICES)}, {"type": "integer", "minimum": 1, "maximum": 1}]}
Tiles = Annotated[str, PlainValidator(_tiles), WithJsonSchema(_TILES)]
DuplicatesName = Annotated[Duplicates, BeforeValidator(_lower_text)]
_SHARE_SCHEMA = {"type": "number", "minimum": 0, "maximum": 1}
Threshold = Annotated[
    float | dict[str, float],
    PlainValidator(_score_threshold),
    WithJsonSchema(
        {"anyOf": [_SHARE_SCHEMA, {"type": "object", "additionalProperties": _SHARE_SCHEMA, "minProperties": 1}]}
    ),
]
_JobEvent = Literal["job.completed"]
Events = Annotated[
    tuple[_JobEvent, ...],
    Field(fail_fast=True),
    BeforeValidator(_names, json_schema_input_type=_JobEvent | _Several[_JobEvent]),
]
_BatchEvent = Literal["batch.completed"]
BatchEvents = Annotated[
    tuple[_BatchEvent, ...],
    Field(fail_fast=True),
    BeforeValidator(_names, json_schema_input_type=_BatchEvent | _Several[_BatchEvent]),
]
Metadata = Annotated[str | None, PlainValidator(_metadata), WithJsonSchema({"type": "object"})]
Ref = Annotated[str | None, PlainValidator(_ref), _string("ref", maxLength=MAX_REF_CHARS)]
TagName = Annotated[str, PlainValidator(_tag_name), _string("ref", minLength=1, maxLength=MAX_TAG_CHARS)]
File = Annotated[FilePart | None, PlainValidator(_file), _string("binary")]
Base64 = Annotated[bytes | None, PlainValidator(_base64), _string("byte")]
