"""Strategies for the string formats of the OpenAPI document that a JSON schema cannot describe, such as images.

Schemathesis loads this module, named by SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

from testing.pictures import encoded, gradient

IMAGE_URL_VARIABLE = "SCHEMATHESIS_IMAGE_URL"

_URL = os.environ.get(IMAGE_URL_VARIABLE, "https://example.com/cat.png")
_SOURCES = {"image_file", "image_base64", "image_url"}
_IMAGES = st.sampled_from([encoded(gradient(8, 6), name) for name in ("PNG", "JPEG", "WEBP")])
_WORDS = st.text(st.characters(categories=["L", "N"], max_codepoint=0x17F), min_size=1, max_size=20)

schemathesis.openapi.format("binary", _IMAGES)
schemathesis.openapi.format("byte", _IMAGES.map(lambda image: base64.b64encode(image).decode()))
schemathesis.openapi.format("prompt", st.lists(_WORDS, min_size=1, max_size=4).map(" ; ".join))
schemathesis.openapi.format("model", st.just("demo"))
schemathesis.openapi.format("uri", st.just(_URL))
schemathesis.openapi.format("ref", _WORDS)
schemathesis.openapi.format("json-object", st.dictionaries(_WORDS, _WORDS, max_size=3).map(json.dumps))
schemathesis.openapi.format("uri-or-empty", st.sampled_from([_URL, ""]))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: Any) -> bool:
    """Leave out bodies with thresholds by phrase, because the prompt does not have these phrases, and names of Label
    Studio's tags with other formats. Of what must be refused leave out null in a body and an empty `status`: the
    service takes them for options that were left out, although the document does not say so."""
    query = case.query or {}
    if {"from_name", "to_name"} & set(query) and query.get("format") != "labelstudio":
        return False
    if "status" in query and not any(query["status"] or ()):
        return False
    if not isinstance(case.body, dict):
        return True
    return None not in case.body.values() and not isinstance(case.body.get("score_threshold"), dict)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Any, kwargs: dict[str, Any]) -> None:
    """Make every idempotency key unique: a repeated key with another request is refused, rightly. Give every submission
    one image, which a JSON schema that all tools understand cannot require."""
    key = (case.headers or {}).get("Idempotency-Key", "")
    if 0 < len(key) <= 255:  # longer ones must be refused
        case.headers["Idempotency-Key"] = f"{key[:200]}{uuid4().hex}"
    if case.operation.path == "/segment/" and isinstance(case.body, dict):
        _set_one_image(case)


def _set_one_image(case: Any) -> None:
    """An image in a body that must be refused stays: it may be what is wrong there. Examples name a host that does not
    exist. A body that is set is validated again, and one with a file counts as invalid, so no other body is set."""
    given = _SOURCES & set(case.body)
    is_missing = not given and "urlencoded" not in case.media_type  # there it is required, and may be what is wrong
    is_valid = case.meta.generation.mode.is_positive
    if is_missing or (is_valid and given not in ({"image_file"}, {"image_base64"})):
        others = {name: value for name, value in case.body.items() if name not in given}
        case.body = {**others, "image_url": _URL}
