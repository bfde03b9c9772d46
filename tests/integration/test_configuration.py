"""A wrong setting ends every program with status 78 and one line that names the setting, before a broker starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.misconfigurations import MISCONFIGURATIONS, PAGE, Misconfiguration, Place, place, row

_PROGRAMS: dict[str, list[str]] = {
    "api": [],
    "worker": [],
    "webhooks": [],
    "worker.healthcheck": [],
    "webhooks.healthcheck": [],
    "webhooks.secrets_command": ["show"],
    "api.auth.keys_command": ["list"],
    "local.up": ["--data", "{folder}"],
    "local.demo": ["--data", "{folder}"],
    "local.keys": ["--data", "{folder}", "list"],
    "local.webhook_secrets": ["--data", "{folder}", "show"],
}
_MISTAKES = {
    "unknown": ({"MASKQ_MAX_BACH": "3"}, "MASKQ_MAX_BATCH"),
    "contradicting": ({"MASKQ_HEARTBEAT_S": "20", "MASKQ_LEASE_S": "10", "MASKQ_GIVE_UP_S": "60"}, "MASKQ_GIVE_UP_S"),
    "not allowed": ({"MASKQ_LOG_FORMAT": "xml"}, "MASKQ_LOG_FORMAT"),
}


_SERVICES = ("api", "worker", "webhooks", "local.up", "local.demo")
_CASES = [
    (program, mistake)
    for program in _PROGRAMS
    for mistake in (_MISTAKES if program in _SERVICES else ["unknown"])  # commands read the settings the same way
]


@pytest.mark.slow
@pytest.mark.parametrize(("program", "mistake"), _CASES)
def test_a_wrong_setting_ends_every_program_with_its_name(
    root: Path, tmp_path: Path, program: str, mistake: str
) -> None:
    environment, named = _MISTAKES[mistake]
    arguments = [word.format(folder=tmp_path) for word in _PROGRAMS[program]]
    ended = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == os.EX_CONFIG, ended.stderr
    assert named in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "broker").exists()


@pytest.fixture(scope="module")
def wrong_place() -> Iterator[Place]:
    with place() as here:
        yield here


@pytest.mark.slow
@pytest.mark.parametrize("case", MISCONFIGURATIONS, ids=lambda case: f"{case.program}: {case.wrong}")
def test_a_wrong_configuration_ends_a_program_with_the_line_of_the_operations_page(
    wrong_place: Place, case: Misconfiguration
) -> None:
    status, line, printed = wrong_place.last_line(case)
    assert status == os.EX_CONFIG, printed
    assert row(case, line) in PAGE.read_text("utf-8").splitlines(), "run: python -m tests.misconfigurations"
    assert "Traceback" not in printed
    for secret in ("secret@", "wrong@", "word@", "hf_one"):
        assert secret not in printed
