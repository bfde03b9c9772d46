"""Docker Compose v2 as the tests of the compose files use it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
import yaml

from testing.required import require_program

_ROOT = Path(__file__).parents[2]
_NONE = "There is no Docker Compose v2 (tests/e2e/compose/install-compose ~/.docker/cli-plugins)"


def require_compose() -> None:
    """Skip the test if `docker compose` is not Compose v2 or newer; in CI the test fails."""
    if not re.match(r"v?([2-9]|\d\d)\.", _version(require_program("docker"))):
        raise pytest.fail.Exception(_NONE) if os.environ.get("CI") else pytest.skip.Exception(_NONE)


@cache
def _version(docker: str) -> str:
    command = [docker, "compose", "version", "--short"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def compose_config(*files: str, **settings: str) -> dict[str, Any]:
    """The configuration that `docker compose` reads from files of the project, with only these settings in .env.

    Raises:
        AssertionError: Compose refuses the files; the message has its reason.
    """
    words = [word for name in files for word in ("--file", name)]
    return run_config(["docker", "compose", *words], settings)


def run_config(command: Sequence[str], settings: Mapping[str, str]) -> dict[str, Any]:
    """As `compose_config`, for the words of a `docker compose` command without its subcommand."""
    require_compose()
    config: dict[str, Any] = yaml.safe_load(_config(tuple(command), tuple(settings.items())))
    return config


@cache
def _config(command: tuple[str, ...], settings: tuple[tuple[str, str], ...]) -> str:
    """The output of `config`, which takes half a second."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
    with NamedTemporaryFile("w", suffix=".env") as file:
        file.writelines(f"{name}={value}\n" for name, value in settings)
        file.flush()
        words = [*command[:2], "--env-file", file.name, *command[2:], "config"]
        shown = subprocess.run(words, cwd=_ROOT, env=kept, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout
