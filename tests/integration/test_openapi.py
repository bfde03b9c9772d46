"""The OpenAPI document is correct: schemathesis tests the service against it and finds no undocumented answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from pycocotools import mask as coco_mask

from api.http.examples import ANSWERS
from shared.domain.job import MAX_TIMEOUT_S
from shared.domain.prompt import MAX_PROMPT_CHARS
from shared.errors import ConfigurationError, MaskqError
from shared.settings import Settings
from testing.servers import front_end, website
from tests.jobs import PNG
from tests.keys import make_key
from tests.schemathesis_hooks import IMAGE_URL_VARIABLE

_RUN_S = int(os.environ.get("SCHEMATHESIS_S", "25"))
"""Time of each run, in seconds."""
_SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
"""A fixed seed repeats the same cases. Set another one to look for new faults."""


class _Images(BaseHTTPRequestHandler):
    """A website with the same image at every address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PNG)))
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def images() -> Iterator[str]:
    with website(_Images) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("has_keys", [True, False], ids=["with keys", "without keys"])
def test_schemathesis_finds_no_undocumented_answer(
    settings: Settings, images: str, tmp_path: Path, has_keys: bool
) -> None:
    changes = {"require_keys": has_keys, "url_allow_http": True, "url_allow_private": True}
    wide_open = settings.replace(**{**changes, "max_queued_jobs": 1_000_000, "max_wait_s": 0.2})
    header = ["--header", f"Authorization: Bearer {make_key(settings)[1]}"] if has_keys else []
    with front_end(wide_open) as url:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/schemathesis.toml"),
                *("run", f"{url}/openapi.json", *header),
                *("--checks", "all", "--max-time", str(_RUN_S), "--no-color", "--generation-database", "none"),
                *("--continue-on-failure", "--warnings", "off", "--seed", _SEED),
            ],
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", IMAGE_URL_VARIABLE: f"{images}/cat"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=_RUN_S + 200,
            check=False,
        )
    assert run.returncode == 0, run.stdout[-8_000:] + run.stderr[-2_000:]


def _document(settings: Settings, **changes: Any) -> dict[str, Any]:
    with front_end(settings.replace(**changes)) as url:
        document: dict[str, Any] = httpx2.get(f"{url}/openapi.json", timeout=20).json()
        return document


def test_the_document_has_every_error_of_requests(settings: Settings) -> None:
    text = json.dumps([_document(settings, require_keys=keys) for keys in (True, False)])
    before_any_route = {"headers_too_large"}
    refusals = [error for error in _all_errors(MaskqError) if error.status != 500]  # status 500: errors of jobs
    types = {error.type for error in refusals} - before_any_route
    assert {code for code in types if f'"{code}"' not in text} == set()


def _all_errors(error: type[MaskqError]) -> Iterator[type[MaskqError]]:
    if error is not ConfigurationError:
        yield error
        for child in error.__subclasses__():
            yield from _all_errors(child)


def test_the_document_requires_keys_only_if_the_service_does(settings: Settings) -> None:
    guarded, open_ = _document(settings, require_keys=True), _document(settings, require_keys=False)
    assert set(guarded["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}
    assert len(guarded["paths"]["/segment/"]["post"]["security"]) == 2
    assert "security" not in json.dumps(open_)
    assert "401" not in open_["paths"]["/segment/"]["post"]["responses"]
    for document in (guarded, open_):
        assert "HTTPValidationError" not in json.dumps(document)


def test_the_document_has_the_limits_of_the_deployment(settings: Settings) -> None:
    text = json.dumps(_document(settings, max_wait_s=33.0))
    assert '"maximum": 33.0' in text
    assert "x-max" not in text


def test_the_document_has_the_limits_of_a_submission(settings: Settings) -> None:
    document = _document(settings)
    bodies = document["paths"]["/segment/"]["post"]["requestBody"]["content"]
    for body in bodies.values():
        name = body["schema"]["$ref"].rpartition("/")[2]
        fields = document["components"]["schemas"][name]["properties"]
        assert fields["prompt"]["maxLength"] == MAX_PROMPT_CHARS
        assert f'"maximum": {MAX_TIMEOUT_S}' in json.dumps(fields["timeout"])


def test_every_reference_of_the_document_exists(settings: Settings) -> None:
    document = _document(settings)
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert {"FormSubmission", "JsonSubmission", "JobView", "Problem"} <= names
    assert names - document["components"]["schemas"].keys() == set()


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for path in document["paths"].values() for operation in path.values())


def test_every_operation_has_a_short_id_and_a_tag_that_is_described(settings: Settings) -> None:
    document = _document(settings)
    ids = [operation["operationId"] for operation in _operations(document)]
    assert [name for name in ids if not re.fullmatch(r"[a-z]+(_[a-z]+){1,2}", name)] == []
    assert len(ids) == len(set(ids))
    assert {tag for each in _operations(document) for tag in each["tags"]} == {tag["name"] for tag in document["tags"]}


def test_the_bodies_of_submissions_are_plain_objects(settings: Settings) -> None:
    """Generators of clients lose the fields of a union, and hosts of agents refuse tools whose arguments are one."""
    document = _document(settings)
    schemas = {name: document["components"]["schemas"][f"{name}Submission"] for name in ("Form", "Json", "Urlencoded")}
    for schema in schemas.values():
        assert schema["type"] == "object"
        assert not {"oneOf", "anyOf", "allOf", "not", "if"} & schema.keys()
        assert '"null"' not in json.dumps(schema)
    assert [schema["required"] for schema in schemas.values()] == [["prompt"], ["prompt"], ["prompt", "image_url"]]
    assert "exactly one of `image_file` and `image_url`" in schemas["Form"]["description"]
    assert schemas["Form"]["properties"]["image_file"]["format"] == "binary"


def test_every_body_has_examples(settings: Settings) -> None:
    """Schemathesis submits them."""
    content = _document(settings)["paths"]["/segment/"]["post"]["requestBody"]["content"]
    assert len(content) == 3
    assert all(body["examples"] for body in content.values())


def test_pictures_are_declared_as_bytes(settings: Settings) -> None:
    contents = [
        response["content"]["image/png"]["schema"]
        for operation in _operations(_document(settings))
        for response in operation["responses"].values()
        if "image/png" in response.get("content", {})
    ]
    assert len(contents) >= 3
    assert all(schema == {"type": "string", "format": "binary"} for schema in contents)


def test_only_what_is_an_object_is_a_union_with_null(settings: Settings) -> None:
    document = _document(settings)
    unions = re.findall(r'\{"type": "(\w+)"[^{}]*\}, \{"type": "null"\}', json.dumps(document))
    assert unions == []
    assert '"null"' not in json.dumps([operation.get("parameters") for operation in _operations(document)])


def test_the_examples_of_answers_fit_their_schemas(settings: Settings) -> None:
    document = _document(settings)
    operations = {operation["operationId"]: operation for operation in _operations(document)}
    for operation_id, status in ANSWERS:
        content = operations[operation_id]["responses"][status]["content"]["application/json"]
        schema = {**content["schema"], "components": document["components"]}
        for example in content["examples"].values():
            assert jsonschema_rs.is_valid(schema, example["value"]), (operation_id, status)
        assert not jsonschema_rs.is_valid(schema, "text")


def test_the_mask_of_an_example_is_that_of_its_object() -> None:
    (found,) = ANSWERS["get_job", "200"]["succeeded"]["value"]["result"]["objects"]
    mask = coco_mask.decode({**found["mask"], "counts": found["mask"]["counts"].encode()})
    x0, y0, x1, y1 = found["box"]
    assert mask[y0:y1, x0:x1].sum() == mask.sum() == found["area"]
