"""Every process that is configured wrongly says so in one line and ends with status 78, before it does anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_MISTAKES = {
    "unknown": ({"MASKQ_MAX_BACH": "3"}, "MASKQ_MAX_BATCH"),
    "contradicting": ({"MASKQ_HEARTBEAT_S": "20", "MASKQ_LEASE_S": "10", "MASKQ_GIVE_UP_S": "60"}, "MASKQ_GIVE_UP_S"),
    "not allowed": ({"MASKQ_LOG_FORMAT": "xml"}, "MASKQ_LOG_FORMAT"),
}


@pytest.mark.slow
@pytest.mark.parametrize("module", ["api", "worker", "webhooks", "local.up", "local.demo"])
@pytest.mark.parametrize("mistake", _MISTAKES)
def test_a_wrong_setting_ends_the_process_with_its_name(root: Path, tmp_path: Path, module: str, mistake: str) -> None:
    environment, named = _MISTAKES[mistake]
    options = ["--data", str(tmp_path)] if module.startswith("local") else []
    ended = subprocess.run(
        [sys.executable, "-m", module, *options],
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
