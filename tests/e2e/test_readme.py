"""The commands in the README and on the API page do what these pages say."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.settings import all_settings, variable_of

_ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def readme() -> str:
    return (_ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def api_page() -> str:
    return (_ROOT / "docs" / "api.md").read_text("utf-8")


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def _requests(page: str, service_url: str) -> list[str]:
    return [block.replace("http://127.0.0.1:8000", service_url) for block in _blocks(page, "sh") if "curl" in block]


def _run(command: str, root: Path, **env: str) -> Any:
    environment = {**os.environ, **env}
    done = subprocess.run(
        ["bash", "-c", command], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def _shape(value: Any) -> Any:
    """The names in a document and the types of its values."""
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    return [_shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def _reduced(value: Any, shown: Any) -> Any:
    """`value` without the fields that `shown` leaves out."""
    if isinstance(shown, dict):
        return {name: _reduced(value[name], each) for name, each in shown.items()}
    if isinstance(shown, list) and shown and isinstance(shown[0], dict):
        return [_reduced(each, shown[0]) for each in value]
    return value


def _assert_same_answer(job: Any, shown: Any) -> None:
    assert _shape(job) == _shape(shown)
    assert (job["status"], job["prompt"]) == (shown["status"], shown["prompt"])
    assert [found["box"] for found in job["result"]["objects"]] == [
        found["box"] for found in shown["result"]["objects"]
    ]


@pytest.mark.slow
def test_the_request_in_the_readme_gets_the_answer_that_is_shown(readme: str, root: Path, service_url: str) -> None:
    (submit,) = _requests(readme, service_url)
    (shown,) = (json.loads(block) for block in _blocks(readme, "json"))
    _assert_same_answer(_reduced(_run(submit, root), shown), shown)


@pytest.mark.slow
def test_the_requests_on_the_api_page_get_the_answer_that_is_shown(api_page: str, root: Path, service_url: str) -> None:
    submit_batch, submit, poll = _requests(api_page, service_url)
    shown_batch, shown, *_ = (json.loads(block) for block in _blocks(api_page, "json"))
    batch = _run(submit_batch, root)
    assert (batch["total"], batch["refused"], sum(batch["counts"].values())) == (2, [], 2)
    del shown_batch["counts"]  # by the states of its jobs at that moment
    assert _shape(_reduced(batch, shown_batch)) == _shape(shown_batch)
    job = _run(submit, root)
    if job["status"] in ("queued", "processing"):
        job = _run(poll, root, JOB_ID=job["id"])
    _assert_same_answer(job, shown)


def test_every_command_exists_and_is_executable(readme: str, root: Path) -> None:
    commands = set(re.findall(r"\bscripts/[\w-]+", readme))
    assert {"scripts/demo", "scripts/test", "scripts/up"} <= commands
    for command in commands:
        assert os.access(root / command, os.X_OK), command


def test_every_variable_in_the_table_is_a_setting(readme: str) -> None:
    rows = re.search(r"^\| variable.*?^$", readme, re.DOTALL | re.MULTILINE)
    assert rows is not None
    named = re.findall(r"`([A-Z_]+)`", rows[0])
    assert named
    assert set(named) <= {variable_of(name, field) for _, name, field in all_settings()}
