"""Packages import each other in one direction only. The contracts are in pyproject.toml; `scripts/check` runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

_CLIENT = Path("client", "src")
_HEAVY = {"torch", "jax", "flax", "transformers"}


def _lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache", *options], cwd=folder, capture_output=True, text=True, check=False)


def _lint_client(root: Path) -> subprocess.CompletedProcess[str]:
    return _lint(root / _CLIENT, "--config", "../pyproject.toml")


def _contracts(root: Path) -> dict[str, dict[str, object]]:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    return {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The packages and their contracts in a folder in which a test may break them."""
    for package in tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["root_packages"]:
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def _add(module: Path, lines: str) -> None:
    text = module.read_text("utf-8")
    module.write_text(f"{text}\n{lines}\n", "utf-8")


def test_every_import_follows_the_contracts(root: Path) -> None:
    result = _lint(root)
    assert result.returncode == 0, result.stdout


def test_the_client_follows_its_contracts(root: Path) -> None:
    result = _lint_client(root)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [("errors.py", "shared.errors"), ("client.py", "api.app"), ("pacer.py", "maskq.client"), ("rle.py", "tests.jobs")],
)
def test_a_wrong_import_in_the_client_is_found(root: Path, tmp_path: Path, module: str, imported: str) -> None:
    shutil.copytree(root / "client", tmp_path / "client", ignore=shutil.ignore_patterns("__pycache__"))
    _add(tmp_path / _CLIENT / "maskq" / module, f"def late() -> None:\n    import {imported}")
    result = _lint_client(tmp_path)
    assert result.returncode != 0
    assert f"maskq.{module.removesuffix('.py')} -> {imported.partition('.')[0]}" in result.stdout


def test_the_check_runs_the_contracts(root: Path) -> None:
    text = (root / "scripts" / "check").read_text("utf-8")
    assert text.count('/lint-imports"') == 2
    assert "--config ../pyproject.toml" in text


def test_no_contract_has_exceptions(root: Path) -> None:
    assert [name for name, contract in _contracts(root).items() if "ignore_imports" in contract] == []


def test_a_circle_of_two_modules_is_found(copy: Path) -> None:
    (copy / "api" / "http" / "one.py").write_text("import api.http.two\n")
    (copy / "api" / "http" / "two.py").write_text("import api.http.one\n")
    result = _lint(copy)
    assert result.returncode != 0
    assert "No cycles are allowed in api.http." in result.stdout


def test_a_circle_of_two_folders_that_type_checking_hides_is_found(copy: Path) -> None:
    hidden = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import api.routes.jobs"
    _add(copy / "api" / "http" / "problems.py", hidden)
    result = _lint(copy)
    assert result.returncode != 0
    assert "No cycles are allowed in api." in result.stdout
    assert "api.http.problems -> api.routes.jobs" in result.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("shared/errors.py", "worker.app"),
        ("api/app.py", "webhooks.app"),
        ("worker/app.py", "testing.fleet"),
        ("worker/app.py", "tests"),
        ("shared/registry.py", "numpy"),
        ("shared/errors.py", "shared.store.leases"),
        ("worker/stages/parse.py", "worker.app"),
        ("worker/stages/merge.py", "torch"),
        ("evaluation/scoring.py", "training.stages"),
        ("scenes/layout.py", "torch"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(copy: Path, module: str, imported: str) -> None:
    _add(copy / module, f"def late() -> None:\n    import {imported}")
    result = _lint(copy)
    assert result.returncode != 0
    assert f"{module.removesuffix('.py').replace('/', '.')} -> {imported}" in result.stdout


def test_every_module_of_the_service_has_a_layer(root: Path) -> None:
    layered = [name for contract in _contracts(root).values() for name in _exhaustive_containers(contract)]
    assert sorted(layered) == ["api", "shared", "webhooks", "worker"]


def _exhaustive_containers(contract: dict[str, object]) -> list[str]:
    containers = contract.get("containers", [])
    return list(containers) if contract.get("exhaustive") and isinstance(containers, list) else []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("api.app", _HEAVY | {"numpy"}),
        ("api.__main__", _HEAVY | {"numpy"}),
        ("api.auth.keys_command", _HEAVY | {"numpy"}),
        ("webhooks.app", _HEAVY | {"numpy"}),
        ("webhooks.secrets_command", _HEAVY | {"numpy"}),
        ("shared.settings", _HEAVY | {"numpy"}),
        ("worker.job_processes.job_process", _HEAVY | {"celery"}),
        ("scenes.scene", _HEAVY),
        ("evaluation.datasets.coco", _HEAVY),
        ("testing.load_clients", _HEAVY),
    ],
)
def test_a_module_that_runs_no_model_loads_no_model_library(root: Path, module: str, absent: set[str]) -> None:
    program = f"import sys, {module}; print(sorted({absent} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
