"""What a client can submit: every field, described once. The models validate it and yield its JSON schema.

A form and a JSON object have the same fields, except for the one that carries the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from api.submission.fields import (
    Base64,
    DeploymentLimits,
    Events,
    File,
    ImageUrl,
    MaskFormats,
    ModelId,
    PriorityName,
    Prompt,
    Timeout,
    WebhookUrl,
)
from shared.domain.job import MAX_TIMEOUT_S
from shared.errors import InvalidField, UnsupportedImage

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""The smallest example of an image: one pixel, as PNG in base64."""


def _require_one_image(schema: dict[str, Any], model: type[Submission]) -> None:
    schema["oneOf"] = [{"required": [name]} for name in model.image_fields()]


class Submission(BaseModel):
    """The fields of both media types. An option that is None was left out, or null in JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra=_require_one_image)
    upload_field: ClassVar[str]
    """Name of the field that carries the image itself."""

    prompt: Prompt = Field(
        description="`cat`, `segment cat` or `cat ; dog`. No control characters, no special tokens of the model.",
        examples=["red circle", "cat ; dog"],
    )
    image_url: ImageUrl = Field(None, description="URL of the image: https, on the public Internet.")
    model_id: ModelId | None = Field(None, description="A model of GET /models. Default: the first one there.")
    timeout: Timeout | None = Field(None, description="Seconds until the job is canceled if it has not ended.")
    priority: PriorityName | None = Field(None, description="Share of the queue that the job gets. Default: `normal`.")
    mask_format: MaskFormats | None = Field(
        None, description="Format of the masks. Several are allowed, as a list or comma-separated. Default: `rle`."
    )
    webhook_url: WebhookUrl | None = Field(
        None,
        description="URL that receives a message when the job has ended, see docs/webhooks.md. Empty: no webhook.",
    )
    webhook_events: Events | None = Field(None, description="Events to send. There is one event so far.")

    @classmethod
    def image_fields(cls) -> tuple[str, str]:
        """The fields of which exactly one must be given."""
        return cls.upload_field, "image_url"

    @property
    def upload(self) -> bytes | None:
        """The image, if the request carries it; None if it is behind `image_url`."""
        return cast(bytes | None, getattr(self, self.upload_field)) or None

    @model_validator(mode="after")
    def _has_one_image(self) -> Self:
        if bool(self.upload) == bool(self.image_url):
            if getattr(self, self.upload_field) == b"":
                raise UnsupportedImage(f"{self.upload_field}: the file is empty")
            raise InvalidField(f"{' or '.join(self.image_fields())}: send exactly one image")
        return self


class FormSubmission(Submission):
    """A submission as multipart/form-data."""

    upload_field: ClassVar[str] = "image_file"
    image_file: File = Field(None, description="A JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.")


class JsonSubmission(Submission):
    """A submission as a JSON object."""

    upload_field: ClassVar[str] = "image_base64"
    image_base64: Base64 = Field(None, description="The file in base64. A `data:` URL works too.", examples=[_PIXEL])


SubmissionT = TypeVar("SubmissionT", bound=Submission)


def validate(model: type[SubmissionT], fields: Mapping[str, object], limits: DeploymentLimits) -> SubmissionT:
    """Check the fields of a request.

    Raises:
        InvalidField: a field is missing or wrong. `detail` names each such field.
        PayloadTooLarge: the image has more than `max_image_bytes`.
        UnsupportedImage: the image is empty.
    """
    try:
        return model.model_validate(fields, context=limits)
    except ValidationError as error:
        reasons = dict.fromkeys(_reason(each) for each in error.errors(include_url=False, include_input=False))
        raise InvalidField("; ".join(reasons)) from None


def _reason(error: ErrorDetails) -> str:
    field = error["loc"][0]
    if field == "timeout":
        return f"timeout: must be a number of seconds above 0 and at most {MAX_TIMEOUT_S}"
    match error["type"]:
        case "missing":
            return f"{field}: is required"
        case "value_error":
            return f"{field}: {error['ctx']['error']}"
        case _:
            return f"{field}: {error['msg'].replace('Input should', 'must', 1)}"
