"""The OpenAPI document is correct: schemathesis tests the service against it and finds no undocumented answer."""

from __future__ import annotations

import asyncio
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
import pytest

from shared.domain.api_key import Scope
from shared.domain.job import MAX_TIMEOUT_S
from shared.domain.prompt import MAX_PROMPT_CHARS
from shared.errors import ConfigurationError, MaskqError
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from testing.servers import front_end, website
from tests.jobs import PNG
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
    header = ["--header", f"Authorization: Bearer {asyncio.run(_make_key(settings))}"] if has_keys else []
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


async def _make_key(settings: Settings) -> str:
    store = ApiKeyStore.connect(settings.redis)
    try:
        return (await store.create("tester", [Scope.SUBMIT, Scope.READ], per_minute=1e8, burst=1_000_000))[1]
    finally:
        await store.close()


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
