"""The wheel is complete, and no index accepts it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

_PACKAGES = "api", "webhooks", "worker", "shared", "local"
_NOT_IN_A_WHEEL = {".md", ".pyc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that setuptools builds, from a copy: a build writes beside the sources."""
    root, folder = Path(__file__).parents[2], tmp_path_factory.mktemp("wheel")
    for package in _PACKAGES:
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder)
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    built = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_no_index_accepts_the_wheel(wheel: zipfile.ZipFile) -> None:
    (name,) = [each for each in wheel.namelist() if each.endswith("/METADATA")]
    metadata = message_from_string(wheel.read(name).decode())
    assert "Private :: Do Not Upload" in metadata.get_all("Classifier", [])


def test_the_wheel_has_every_module_page_and_script(wheel: zipfile.ZipFile, root: Path) -> None:
    files = {path.relative_to(root) for package in _PACKAGES for path in (root / package).rglob("*") if path.is_file()}
    expected = {str(path) for path in files if path.suffix not in _NOT_IN_A_WHEEL}
    assert expected <= set(wheel.namelist())
    assert {"api/pages/index.html", "shared/store/scripts/submit.lua", "worker/engine/engine.py"} <= expected


def test_the_wheel_has_the_service_only(wheel: zipfile.ZipFile) -> None:
    folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == set(_PACKAGES)


@pytest.mark.parametrize("package", _PACKAGES)
def test_type_checkers_read_the_annotations_of_each_package(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package}/py.typed" in wheel.namelist()
