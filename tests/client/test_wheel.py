"""The wheel of the client is complete, typed and small, and works with what is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import maskq
import pytest
from packaging.requirements import Requirement

_ALWAYS = {"httpx2", "typing-extensions"}
"""All that the client needs."""
_PEERS = {"cvat-sdk", "fiftyone"}
"""Installed in the environment of tests/peers only."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that setuptools builds, from a copy: a build writes beside the sources."""
    folder = tmp_path_factory.mktemp("wheel") / "client"
    source = Path(__file__).parents[2] / "client"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist"))
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    built = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").glob("maskq-*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith("/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_has_every_module_and_nothing_else(wheel: Path, root: Path) -> None:
    source = root / "client" / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == {*modules, "maskq/py.typed"}


def test_the_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import maskq"
    program += "; print(maskq.__file__, 'numpy' in sys.modules)"
    command = [sys.executable, "-I", "-c", program]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(tmp_path / "maskq" / "__init__.py"), "False"]


def test_the_client_needs_little_and_it_is_installed(metadata: Message) -> None:
    requirements = [Requirement(each) for each in metadata.get_all("Requires-Dist", [])]
    always = [each for each in requirements if not each.marker or "extra" not in str(each.marker)]
    assert {each.name for each in always} == _ALWAYS
    others = [each for each in requirements if each.name not in {"maskq", *_PEERS}]
    assert [str(each) for each in others if not each.specifier.contains(version(each.name))] == []


def test_python_3_10_is_enough(metadata: Message) -> None:
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"


def test_all_public_names_exist() -> None:
    assert [name for name in maskq.__all__ if not hasattr(maskq, name)] == []
