"""Every error of the service has a class, and none is lost."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from maskq import errors
from maskq.errors import QueueFull, RequestError

_OF_JOBS = {"deadline_exceeded", "inference_failed", "prompt_too_long", "worker_lost"}
"""Types of failed jobs. No request is answered with them."""


def _types(root: Path) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", (root / "docs" / "errors.md").read_text("utf-8"), re.MULTILINE))


def test_every_type_of_a_refusal_has_a_class(root: Path) -> None:
    types = _types(root) - _OF_JOBS
    assert len(types) > 20
    assert {code for code in types if type(RequestError.of(400, {}, _body(code))) is RequestError} == set()


def test_every_class_stands_for_a_type_of_the_service(root: Path) -> None:
    assert set(RequestError._by_type) <= _types(root)


def _body(code: str) -> bytes:
    return f'{{"type": "{code}", "title": "t", "detail": "d", "status": 400, "instance": "/"}}'.encode()


def test_an_unknown_type_is_a_request_error() -> None:
    error = RequestError.of(418, {"x-request-id": "7"}, _body("teapot"))
    assert (type(error), error.type, error.request_id) == (RequestError, "teapot", "7")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff"])
def test_an_answer_of_something_else_is_named_by_its_status(body: bytes) -> None:
    error = RequestError.of(502, {}, body)
    assert (error.type, error.title, error.status) == ("bad_gateway", "Bad Gateway", 502)
    assert RequestError.of(599, {}, body).title == "HTTP 599"


def test_a_redirect_says_where_the_service_is() -> None:
    assert "https://example.com/" in str(RequestError.of(301, {"location": "https://example.com/"}, b""))


def test_a_refusal_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(RequestError.of(429, {}, _body("queue_full"))))
    assert (type(error), error.detail) == (QueueFull, "d")


def test_all_errors_have_one_base() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert all(issubclass(each, errors.MaskqError) for each in classes)
