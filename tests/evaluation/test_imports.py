"""Examples and the HTTP client of the evaluation load no machine-learning framework: they start in a moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
_HEAVY = ("torch", "transformers", "jax", "flax")
_ENGINE_SIDE = {"evaluation.engine_predictor", "evaluation.upper_bound"}


def _modules(package: str) -> list[str]:
    """Names of all modules in a package of this repository."""
    files = sorted((_ROOT / package).rglob("*.py"))
    return [".".join(file.relative_to(_ROOT).with_suffix("").parts) for file in files if file.name != "__init__.py"]


@pytest.mark.parametrize("package", ["evaluation", "scenes"])
def test_only_the_engine_side_loads_a_machine_learning_framework(package: str) -> None:
    light = [name for name in _modules(package) if name not in _ENGINE_SIDE]
    assert len(light) >= 6
    program = f"import sys, {', '.join(light)}; print([name for name in {_HEAVY} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
def test_evaluation_imports_no_training_and_scenes_import_neither() -> None:
    program = (
        f"import sys, {', '.join(_modules('scenes'))}; "
        "assert not any(name.startswith(('training', 'evaluation')) for name in sys.modules); "
        f"import {', '.join(_modules('evaluation'))}; "
        "assert not any(name.startswith('training') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=_ROOT, check=True, timeout=120)
