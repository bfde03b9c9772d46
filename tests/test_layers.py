"""Front end, webhooks and workers know `shared` and not each other; the contracts are in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_the_rooms_know_only_whom_they_may(root: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", ["api.app", "webhooks.app", "shared.settings"])
def test_what_is_no_worker_loads_nothing_heavy(root: Path, module: str) -> None:
    heavy = {"torch", "jax", "flax", "transformers", "numpy"}
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
