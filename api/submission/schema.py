"""OpenAPI for `POST /segment/`: the bodies, the headers and the errors. `intake` reads the body itself, so FastAPI does
not know them."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from api.http.headers import MAX_IDEMPOTENCY_KEY_CHARS
from api.submission.submission import (
    PIXEL,
    FormBatch,
    FormSubmission,
    JsonBatch,
    JsonSubmission,
    Submission,
    UrlencodedSubmission,
)
from shared.errors import (
    IdempotencyMismatch,
    ImageTooLarge,
    ImageUnreadable,
    InvalidField,
    JobDeleted,
    JobExpired,
    JobNotFound,
    MalformedRequest,
    ModelUnserved,
    PayloadTooLarge,
    QueueFull,
    RequestTimedOut,
    ServerBusy,
    ShareExceeded,
    StoreFull,
    StoreUnconfirmed,
    UnsupportedEncoding,
    UnsupportedImage,
    UrlRefused,
)

ERRORS = (
    MalformedRequest,
    RequestTimedOut,
    PayloadTooLarge,
    ImageTooLarge,
    UnsupportedImage,
    UnsupportedEncoding,
    InvalidField,
    UrlRefused,
    ImageUnreadable,
    IdempotencyMismatch,
    JobNotFound,
    JobExpired,
    JobDeleted,
    QueueFull,
    ShareExceeded,
    StoreFull,
    StoreUnconfirmed,
    ServerBusy,
    ShareExceeded,
    ModelUnserved,
)
"""What a submission may be refused with, beside the errors of every route."""

_SCHEMAS_PATH = "#/components/schemas/"
_KEY_SCHEMA = {"type": "string", "maxLength": MAX_IDEMPOTENCY_KEY_CHARS, "pattern": "^[ -~]*$"}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": _KEY_SCHEMA,
    "description": "The same key with the same request returns the same job, for a day.",
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`wait=N` waits up to N seconds for the end of the job (long polling): 200 if it ended in time.",
}
_URL_EXAMPLE = {"prompt": "cat ; dog", "image_url": "https://example.com/photo.jpg"}
_OPTIONS_EXAMPLE = {"mask_format": ["rle", "polygon"], "score_threshold": 0.5, "ref": "frame-17"}


def _body(model: type[Submission], **examples: dict[str, Any]) -> dict[str, Any]:
    values = {name: {"value": value} for name, value in examples.items()}
    return {"schema": {"$ref": _SCHEMAS_PATH + model.__name__}, "examples": values}


REQUEST = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _body(FormSubmission, url={**_URL_EXAMPLE, **_OPTIONS_EXAMPLE}),
            "application/json": _body(
                JsonSubmission,
                url=_URL_EXAMPLE,
                image={"prompt": "red circle", "image_base64": PIXEL, **_OPTIONS_EXAMPLE, "metadata": {"camera": 3}},
            ),
            "application/x-www-form-urlencoded": _body(UrlencodedSubmission, url=_URL_EXAMPLE),
        },
    },
    "parameters": [_IDEMPOTENCY_KEY, _PREFER],
}
"""The body and the headers of a submission. Its schemas are those of `submission_schemas`."""


class _JsonSchema(GenerateJsonSchema):
    """An option is left out. null means the same in JSON and is accepted; in the schema of each option it would only
    make unions for those who generate clients."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


class _FormSchema(_JsonSchema):
    """A form cannot send an empty list, so its schema does not mention it. It sends an object as text."""

    def list_schema(self, schema: core_schema.ListSchema) -> JsonSchemaValue:
        return {name: value for name, value in super().list_schema(schema).items() if name != "minItems"}


def submission_schemas() -> dict[str, Any]:
    """The schemas of all media types and of what they refer to, by name, for `components.schemas`."""
    form_models = (FormSubmission, UrlencodedSubmission, FormBatch)
    forms = {name: schema for model in form_models for name, schema in _schemas(model, _FormSchema).items()}
    for model in form_models:
        metadata = forms[model.__name__]["properties"]["metadata"]
        metadata.update(type="string", format="json-object")
    objects = _schemas(JsonSubmission, _JsonSchema) | _schemas(JsonBatch, _JsonSchema)
    batches = {
        "FormBatch": _several(forms[FormBatch.__name__], "image_file", {"type": "string", "format": "binary"}),
        "JsonBatch": _several(objects[JsonBatch.__name__], "image_url", {"type": "string", "format": "uri"}),
    }
    return {**forms, **objects, **batches}


def _schemas(model: type[Submission], generator: type[GenerateJsonSchema]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_SCHEMAS_PATH + "{model}", schema_generator=generator)
    return {**schema.pop("$defs"), model.__name__: schema}


BATCH_REQUEST = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"$ref": _SCHEMAS_PATH + "FormBatch"}},
            "application/json": {"schema": {"$ref": _SCHEMAS_PATH + "JsonBatch"}},
        },
    },
    "parameters": [{**_IDEMPOTENCY_KEY, "required": True, "schema": {**_KEY_SCHEMA, "minLength": 1}}],
}
"""The body and the headers of a batch."""


def _several(submission: dict[str, Any], name: str, item: dict[str, Any]) -> dict[str, Any]:
    """The schema of a submission with a list of images in the field `name`, and no other image."""
    images = {"type": "array", "items": item, "minItems": 1, "description": "The images: one job for each."}
    others = {key: value for key, value in submission["properties"].items() if not key.startswith("image_")}
    required = sorted({*submission["required"], name})
    schema = {key: value for key, value in submission.items() if key not in ("title", "description")}
    return {**schema, "properties": {**others, name: images}, "required": required}
