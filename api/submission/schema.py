"""What OpenAPI says of a submission: FastAPI does not know, since `intake` reads the body by hand.

A name that begins with `x-max` stands for a limit of the deployment (`openapi.describe_truly`).
"""

from __future__ import annotations

from typing import Any

from shared.domain.job import MaskFormat, Priority
from shared.domain.webhook import WebhookEvent
from shared.errors import (
    IdempotencyMismatch,
    ImageTooLarge,
    ImageUnreadable,
    InvalidField,
    MalformedRequest,
    ModelUnserved,
    PayloadTooLarge,
    QueueFull,
    RequestTimedOut,
    ServerBusy,
    StoreFull,
    UnsupportedEncoding,
    UnsupportedImage,
    UrlRefused,
)

REFUSALS = (
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
    QueueFull,
    StoreFull,
    ServerBusy,
    ModelUnserved,
)
"""What a submission may be refused for, beside what every route may."""

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""The smallest example of an image: one pixel, as PNG in base64."""
_FORMAT = {"type": "string", "enum": list(MaskFormat)}
_EVENT = {"type": "string", "enum": list(WebhookEvent)}
_PROPERTIES: dict[str, Any] = {
    "prompt": {
        "type": "string",
        "format": "prompt",
        "minLength": 1,
        "x-maxLength": "max_prompt_chars",
        "description": "`cat`, `segment cat` or `cat ; dog`. No control characters, no tokens of the model.",
        "examples": ["red circle", "cat ; dog"],
    },
    "image_url": {"type": "string", "format": "uri", "description": "https, on the public Internet."},
    "model_id": {"type": "string", "format": "model", "description": "As GET /models names it, which is the default."},
    "timeout": {
        "type": "number",
        "exclusiveMinimum": 0,
        "x-maximum": "max_timeout_s",
        "description": "Seconds until the job is canceled.",
    },
    "webhook_url": {
        "type": "string",
        "format": "uri-or-empty",
        "description": "Told when the job has ended, see docs/webhooks.md. Empty, as forms send it, is none.",
    },
    "webhook_events": {
        "anyOf": [_EVENT, {"type": "array", "items": _EVENT}],
        "description": "What is told. There is one event so far.",
    },
    "priority": {"type": "string", "enum": list(Priority), "default": Priority.NORMAL},
    "mask_format": {
        "anyOf": [_FORMAT, {"type": "array", "items": _FORMAT}],
        "description": "How to write masks. Several are allowed; the default is `rle`.",
    },
}
_FILE = {"image_file": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."}}
_BASE64 = {
    "image_base64": {
        "type": "string",
        "format": "byte",
        "description": "JPEG, PNG or WebP in base64; a `data:` URL will do.",
        "examples": [_PIXEL],
    }
}


_OPTIONS = ("model_id", "timeout", "priority", "mask_format", "webhook_url", "webhook_events")


def _body(image: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """A body with a prompt and exactly one image: `image` or a URL."""
    one_of = [{"required": [name]} for name in (*image, "image_url")]
    return {
        "schema": {"type": "object", "required": ["prompt"], "properties": {**properties, **image}, "oneOf": one_of}
    }


def _in_json(properties: dict[str, Any]) -> dict[str, Any]:
    """In JSON an option may be null, which is the same as to leave it out, and a list may be sent that has no items,
    which is refused. A form can send neither."""
    options = {name: properties[name] for name in _OPTIONS}
    for name in ("webhook_events", "mask_format"):
        one, several = options[name]["anyOf"]
        options[name] = {**options[name], "anyOf": [one, {**several, "minItems": 1}]}
    return properties | {name: {"anyOf": [option, {"type": "null"}]} for name, option in options.items()}


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"},
    "description": "The same key and the same request give the same job again, for a day.",
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`wait=N` holds the answer for up to N seconds: 200 if the job has ended by then.",
}

REQUEST = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _body(_FILE, _PROPERTIES),
            "application/json": _body(_BASE64, _in_json(_PROPERTIES)),
        },
    },
    "parameters": [_IDEMPOTENCY_KEY, _PREFER],
}
"""The body and the headers of a submission."""
