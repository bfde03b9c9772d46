"""What a client can submit: every field, described once. The models validate it and yield its JSON schema.

A form and a JSON object have the same fields, except for the one that carries the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from api.http.unknown_names import about_unknown
from api.submission.client_data import base_name, name_in_url
from api.submission.fields import (
    Base64,
    BatchEvents,
    DeploymentLimits,
    DuplicatesName,
    Events,
    File,
    ImageUrl,
    MaskFormats,
    Metadata,
    ModelId,
    PriorityName,
    Prompt,
    Ref,
    TagName,
    Threshold,
    Tiles,
    Timeout,
    WebhookUrl,
)
from api.submission.foreign_names import foreign_names
from api.submission.form import MAX_FIELD_BYTES, FilePart
from shared.domain.job import MAX_TIMEOUT_S
from shared.domain.paligemma import read_prompt
from shared.domain.tiles import MAX_TILES
from shared.errors import InvalidField, UnsupportedImage

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""The smallest example of an image: one pixel, as PNG in base64."""


_MAX_FIELDS = 64
_MAX_REASONS = 10
"""Of one refusal. A request of many wrong names gets a short answer."""


def _require_one_image(schema: dict[str, Any], model: type[Submission]) -> None:
    """Say that exactly one image is required. `oneOf` would say it to programs, but those that generate clients take
    it for a union of types and lose the fields, and agents get no tool from it."""
    names = model.image_fields()
    if len(names) == 1:
        schema["required"] += names
    else:
        schema["description"] += f" Send exactly one of {' and '.join(f'`{name}`' for name in names)}."


class Submission(BaseModel):
    """The fields of all media types. An option that is None was left out, or null in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_require_one_image)
    upload_field: ClassVar[str] = ""
    """Name of the field that carries the image itself; empty if none can."""
    is_form: ClassVar[bool] = True
    """Whether all other values are texts."""

    prompt: Prompt = Field(
        description="`cat`, `segment cat` or `cat ; dog`. No control characters, no special tokens of the model.",
        examples=["red circle", "cat ; dog"],
    )
    image_url: ImageUrl = Field(
        None, description="URL of the image: https, on the public Internet. Or a `data:` URL with the image in it."
    )
    model_id: ModelId | None = Field(None, description="A model of GET /models. Default: the first one there.")
    timeout: Timeout | None = Field(None, description="Seconds until the job is canceled if it has not ended.")
    priority: PriorityName | None = Field(None, description="Share of the queue that the job gets. Default: `normal`.")
    mask_format: MaskFormats | None = Field(
        None, description="Format of the masks. Several are allowed, as a list or comma-separated. Default: `rle`."
    )
    from_name: TagName | None = Field(
        None, description="For Label Studio: the name of your control tag, `BrushLabels`. Default: `tag`."
    )
    to_name: TagName | None = Field(
        None, description="For Label Studio: the name of your object tag, `Image`. Default: `image`."
    )
    tiles: Tiles | None = Field(
        None,
        description="Overlapping parts of the image that the model sees one by one: `auto`, `1` (none) or COLUMNSxROWS "
        f"such as `3x1`, at most {MAX_TILES}. `auto`, the default, cuts wide and tall images only.",
    )
    duplicates: DuplicatesName | None = Field(
        None, description="What happens to an object that the model names twice: `merge` (default) or `keep`."
    )
    score_threshold: Threshold | None = Field(
        None,
        description="Objects with a lower score are left out: a number from 0 to 1, or numbers by phrase of the prompt "
        '(a JSON object such as `{"cat": 0.3}`, in a form as text). Default: 0.',
        examples=[0.5],
    )
    webhook_url: WebhookUrl | None = Field(
        None,
        description="URL that receives a message when the job has ended, see docs/webhooks.md. Empty: no webhook.",
    )
    webhook_events: Events | None = Field(None, description="Events to send. There is one event so far.")
    ref: Ref = Field(None, description="Your own name for the job. It comes back with it.")
    metadata: Metadata = Field(
        None, description="A JSON object of your own, of at most 4,096 bytes. It comes back with the job."
    )

    @classmethod
    def image_fields(cls) -> list[str]:
        """The fields of which exactly one must be given."""
        return [name for name in (cls.upload_field, "image_url") if name]

    @property
    def upload(self) -> bytes | None:
        """The image, if the request carries it; None if it is behind `url`."""
        return self.image_url if isinstance(self.image_url, bytes) else None

    @property
    def url(self) -> str:
        """The URL of the image; empty if the request carries it."""
        return self.image_url if isinstance(self.image_url, str) else ""

    @property
    def file_name(self) -> str:
        """The name of the image's file, without folders; empty if there is none."""
        return name_in_url(self.url)

    @model_validator(mode="after")
    def _has_thresholds_for_its_phrases(self) -> Self:
        asked = {phrase.casefold() for phrase in read_prompt(self.prompt)}
        named = self.score_threshold if isinstance(self.score_threshold, dict) else {}
        if unasked := [phrase for phrase in named if phrase.casefold() not in asked]:
            raise InvalidField(f"score_threshold: the prompt does not ask for {unasked[0]}")
        return self


class UrlencodedSubmission(Submission):
    """A prompt and the URL of an image as application/x-www-form-urlencoded, which has no room for the image itself."""


class FormSubmission(Submission):
    """An image and a prompt as multipart/form-data."""

    upload_field: ClassVar[str] = "image_file"
    image_file: File = Field(None, description="A JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.")

    @property
    def upload(self) -> bytes | None:
        return (self.image_file.content if self.image_file else None) or super().upload

    @property
    def file_name(self) -> str:
        return (base_name(self.image_file.name) if self.image_file else "") or super().file_name


class JsonSubmission(Submission):
    """An image and a prompt as a JSON object."""

    upload_field: ClassVar[str] = "image_base64"
    is_form: ClassVar[bool] = False
    image_base64: Base64 = Field(None, description="The file in base64. A `data:` URL works too.", examples=[PIXEL])

    @property
    def upload(self) -> bytes | None:
        return self.image_base64 or super().upload


class FormBatch(Submission):
    """What all images of a batch have in common, as multipart/form-data."""

    webhook_url: WebhookUrl | None = Field(
        None,
        description="URL that receives a message when all jobs have ended, see docs/webhooks.md. Empty: no webhook.",
    )
    webhook_events: BatchEvents | None = Field(  # type: ignore[assignment] # other events, and nothing reads them
        None, description="Events to send. There is one event so far."
    )

    @classmethod
    def image_fields(cls) -> list[str]:
        return ["image_file", "image_url"]


class JsonBatch(FormBatch):
    """The same as a JSON object."""

    is_form: ClassVar[bool] = False

    @classmethod
    def image_fields(cls) -> list[str]:
        return ["image_url"]


SubmissionT = TypeVar("SubmissionT", bound=Submission)


def validate(model: type[SubmissionT], fields: Mapping[str, object], limits: DeploymentLimits) -> SubmissionT:
    """Check the fields of a request for one image.

    Raises:
        UnsupportedImage: the image is empty.
        InvalidField, PayloadTooLarge: as `validate_fields`; or there is not exactly one image.
    """
    submission = validate_fields(model, fields, limits, _image_reasons(model, fields))
    if not submission.upload and not submission.url:
        raise UnsupportedImage(f"{' or '.join(model.image_fields())}: the image is empty")
    return submission


def validate_fields(
    model: type[SubmissionT], fields: Mapping[str, object], limits: DeploymentLimits, known_reasons: Sequence[str] = ()
) -> SubmissionT:
    """Check the fields of a request, of which `known_reasons` says what is wrong already.

    Raises:
        InvalidField: a field is missing, wrong or unknown. `detail` names each such field.
        PayloadTooLarge: the image has more than `max_image_bytes`.
    """
    if len(fields) > _MAX_FIELDS:
        raise InvalidField(f"the request has {len(fields):,} fields; at most {_MAX_FIELDS} are allowed")
    reasons = [*unknown_names(model, fields), *known_reasons]
    try:
        known = {name: value for name, value in fields.items() if name in model.model_fields}
        known = _texts_of_form(model, known) if model.is_form else known
        submission = model.model_validate(known, context=limits)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        reasons = [*dict.fromkeys(map(_reason, found)), *reasons]
    if reasons:
        left_out = len(reasons) - _MAX_REASONS
        raise InvalidField("; ".join(reasons[:_MAX_REASONS]) + (f"; and {left_out} more" if left_out > 0 else ""))
    return submission


def unknown_names(model: type[Submission], names: Iterable[str]) -> list[str]:
    """What is wrong with each name that is no field. pydantic cannot say this of a name with a lone surrogate."""
    known = list(model.model_fields)
    foreign = foreign_names(known, model.image_fields())
    return [about_unknown(name, "field", known, foreign) for name in names if name not in model.model_fields]


def _image_reasons(model: type[Submission], fields: Mapping[str, object]) -> list[str]:
    """What is wrong with the number of images. An empty file beside a URL is no image: browsers send it for a file
    that nobody chose."""
    given = [name for name in model.image_fields() if not _is_empty(fields.get(name))]
    is_empty_file = not given and not isinstance(fields.get(model.upload_field), str | None)
    if len(given) == 1 or is_empty_file:
        return []
    return [f"{' or '.join(model.image_fields())}: send exactly one image"]


def _texts_of_form(model: type[Submission], fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a form without those that were left empty, as browsers send them. Scripts in browsers and
    `curl -F metadata=@FILE` send texts as files."""
    texts = {name: value if name == model.upload_field else _text_of(value) for name, value in fields.items()}
    return {name: value for name, value in texts.items() if value != "" or name == "prompt"}


def _text_of(value: object) -> object:
    if not isinstance(value, FilePart) or len(value.content) > MAX_FIELD_BYTES:
        return value
    try:
        return value.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return value


def _is_empty(value: object) -> bool:
    return value in (None, "", b"") or (isinstance(value, FilePart) and not value.content)


def _reason(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    if field == "timeout":
        return f"timeout: must be a number of seconds above 0 and at most {MAX_TIMEOUT_S}"
    match error["type"]:
        case "missing":
            return f"{field}: is required"
        case "value_error":
            return f"{field}: {error['ctx']['error']}"
        case _:
            return f"{field}: {error['msg'].replace('Input should', 'must', 1)}"
