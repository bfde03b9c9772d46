"""The commands, links and variables of the README are right."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def readme() -> str:
    return (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")


def _blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)


def _run(command: str, root: Path, **env: str) -> Any:
    environment = {**os.environ, **env}
    done = subprocess.run(
        ["bash", "-c", command], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_requests_get_the_response_that_is_shown(readme: str, root: Path, service_url: str) -> None:
    curls = [block.replace("http://127.0.0.1:8000", service_url) for block in _blocks(readme, "sh") if "curl" in block]
    submit, poll = curls
    job = _run(submit, root)
    for _ in range(3):  # a wait ends at each transition
        if job["status"] in ("queued", "processing"):
            job = _run(poll, root, JOB_ID=job["id"])
    (shown,) = (json.loads(block) for block in _blocks(readme, "json"))
    assert _shape(job) == _shape(shown)
    assert (job["status"], job["prompt"]) == (shown["status"], shown["prompt"])
    assert [found["box"] for found in job["result"]["objects"]] == [
        found["box"] for found in shown["result"]["objects"]
    ]


def _shape(value: Any) -> Any:
    """The names in a document and the types of its values."""
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    return [_shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def test_every_command_exists_and_is_executable(readme: str, root: Path) -> None:
    commands = set(re.findall(r"\bscripts/[\w-]+", readme))
    assert {"scripts/demo", "scripts/test", "scripts/up"} <= commands
    for command in commands:
        assert os.access(root / command, os.X_OK), command


def test_every_link_points_to_an_existing_file(readme: str, root: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_every_variable_named_is_a_setting(readme: str) -> None:
    from shared.settings import all_settings, variable_of

    rows = re.search(r"^\| variable.*?^$", readme, re.DOTALL | re.MULTILINE)
    assert rows is not None
    named = re.findall(r"`([A-Z_]+)`", rows[0])
    assert named
    assert [name for name in named if name not in {variable_of(*each[1:]) for each in all_settings()}] == []
