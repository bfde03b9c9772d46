"""The environment with the packages of other tools: see requirements.txt beside this file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_CLIENT = Path(__file__).parents[2] / "client" / "src"


def peers_python() -> str:
    """Its Python. Skips the test if there is no such environment."""
    python = os.environ.get("PEERS_PYTHON")
    if not python:
        pytest.skip("PEERS_PYTHON is not set: the Python of an environment with tests/peers/requirements.txt")
    return python


def run_peer(arguments: Sequence[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in the environment of the other tools, with the client of this repository, in
    `folder`, which is its home as well. Skips the test as `peers_python`."""
    env = {**os.environ, "PYTHONPATH": str(_CLIENT), "HOME": str(folder), **env}
    command = [peers_python(), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=folder, env=env)
    assert run.returncode == 0, run.stderr[-3_000:]
    return run
