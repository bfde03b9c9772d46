"""Other tools use a service through its OpenAPI document alone: a generated client, and tools for agents."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared.settings import Settings
from testing.fleet import Fleet
from testing.scripted_pipeline import scripted_answer
from tests.jobs import PNG
from tests.keys import make_key

pytestmark = [pytest.mark.slow, pytest.mark.peers]

_VARIABLE = "OPENAPI_PYTHON"


@pytest.fixture(scope="module")
def python() -> str:
    """The Python of the tools' environment. Without one the tests are skipped; in CI they fail."""
    found = os.environ.get(_VARIABLE)
    if not found:
        reason = f"{_VARIABLE} is not set: the Python of an environment with tests/peers/openapi-requirements.txt"
        raise pytest.fail.Exception(reason) if os.environ.get("CI") else pytest.skip.Exception(reason)
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[tuple[str, str]]:
    """The URL of a service that requires keys, and a key."""
    with Fleet(tmp_path_factory.mktemp("service"), workers=1, deliverers=0, MASKQ_REQUIRE_KEYS="true") as fleet:
        yield fleet.url, make_key(Settings.of(redis_url=fleet.broker_url))[1]


def _run(python: str, program: str, service: tuple[str, str], folder: Path) -> dict[str, Any]:
    (folder / "image.png").write_bytes(PNG)
    command = [python, str(Path(__file__).with_name(program)), *service]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr[-4_000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def _picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_generated_client_submits_waits_and_reads_masks(
    python: str, service: tuple[str, str], tmp_path: Path
) -> None:
    found = _run(python, "generated_client.py", service, tmp_path)
    (expected,) = scripted_answer("segment cat", PNG).objects
    for name in ("form", "json", "urlencoded"):
        job, mask = found[name]["job"], _picture(found[name]["mask"])
        assert (job["status"], job["ref"]) == ("succeeded", name)
        assert job["result"]["objects"][0]["box"] == list(expected.box)
        assert (mask.size, mask.getbbox()) == ((64, 48), expected.box)
    assert [found[name]["job"]["priority"] for name in ("form", "json")] == ["high", "high"]
    assert found["json"]["job"]["metadata"] == {"camera": 3}
    assert _picture(found["overlay"]).size == (64, 48)
    assert found["refs"] == ["urlencoded", "json", "form"]
    assert found["refused"]["type"] == "invalid_field"


def test_agents_have_tools_with_names_and_descriptions(python: str, service: tuple[str, str], tmp_path: Path) -> None:
    found = _run(python, "fastmcp_tools.py", service, tmp_path)
    tools = found["tools"]
    assert {"submit_job", "get_job", "list_jobs", "list_models", "cancel_job", "get_result"} <= set(tools)
    assert [name for name, tool in tools.items() if len(tool["description"]) < 20] == []
    schema = tools["submit_job"]["inputSchema"]
    assert {"prompt", "image_url", "score_threshold"} <= schema["properties"].keys()
    assert schema["required"] == ["prompt"]
    assert not {"oneOf", "anyOf", "allOf", "if", "not"} & schema.keys()  # hosts of agents refuse these at the top
    assert (found["ended"]["status"], found["ended"]["ref"]) == ("succeeded", "agent")
    assert found["ended"]["result"]["objects"][0]["mask"]["format"] == "rle"
    assert "demo" in json.dumps(found["models"])
    assert "send exactly one image" in found["refused"]
