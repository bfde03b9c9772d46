"""What a Dockerfile copies and installs is enough for every program that its image runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.images.system_calls import LIBRARY

_PROGRAMS = {
    "api": [
        "api.__main__",
        "api.auth.keys_command",
        "shared.images.sandbox_child",
        "webhooks.__main__",
        "webhooks.healthcheck",
        "webhooks.secrets_command",
    ],
    "worker": ["worker.__main__", "worker.healthcheck", "shared.images.sandbox_child"],
}
"""By the name of an image, which is also that of the extra it installs."""

_IMPORT_WITHOUT = """
import importlib, importlib.abc, json, sys
names, absent = json.loads(sys.argv[1])

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"not in the image: {name}", name=name)

sys.meta_path.insert(0, Absent())
for name in names:
    importlib.import_module(name)
own = {"api", "shared", "webhooks", "worker"}
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in own]))
"""
"""Imports modules as if some packages were not installed, and prints the files of all own modules that this loads."""


@pytest.mark.parametrize("image", _PROGRAMS)
def test_the_programs_of_an_image_load_with_what_it_has(root: Path, tmp_path: Path, image: str) -> None:
    for name in _copied(root / f"Dockerfile.{image}"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(root / name, target, dirs_exist_ok=True)
        else:
            shutil.copy(root / name, target)
    words = json.dumps([_PROGRAMS[image], sorted(_absent(image))])
    command = [sys.executable, "-c", _IMPORT_WITHOUT, words]
    imported = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr
    files = [Path(file) for file in json.loads(imported.stdout)]
    assert files
    assert [file for file in files if not file.is_relative_to(tmp_path)] == []


def test_the_image_of_the_front_end_has_no_model_library() -> None:
    assert {"numpy", "torch", "jax", "flax", "transformers"} <= _absent("api")


@pytest.mark.parametrize("name", ["api", "worker", "tracing", "torch-cuda"])
def test_every_package_of_an_image_has_its_tested_version_and_hashes(root: Path, name: str) -> None:
    tested = _versions((root / "constraints.txt").read_text("utf-8").splitlines())
    locked = (root / f"requirements/{name}.txt").read_text("utf-8")
    entries = re.findall(r"^(\S+==\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", locked, re.MULTILINE)
    versions = _versions(entry for entry, _ in entries)
    assert len(versions) == len(re.findall(r"^\S", locked, re.MULTILINE)) > 10
    assert {package for package in versions.keys() & tested.keys() if versions[package] != tested[package]} == set()


@pytest.mark.parametrize("extra", ["api", "worker", "tracing"])
def test_the_locked_packages_are_all_that_an_extra_needs(root: Path, extra: str) -> None:
    files = [root / f"requirements/{name}.txt" for name in (extra, "torch-cuda")]
    locked = _versions(
        line for file in files for line in re.findall(r"^\S+==\S+", file.read_text("utf-8"), re.MULTILINE)
    )
    needed: set[tuple[str, str]] = set()
    _add_requirements("maskq-server", {extra}, needed)
    assert {name for name, _ in needed} - {"maskq-server"} <= set(locked), "run: scripts/lock --hashes"


def _versions(lines: Iterable[str]) -> dict[str, str]:
    """Versions by the normalized names of packages."""
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def _copied(dockerfile: Path) -> Iterator[str]:
    """Files and folders of the project that an image has."""
    for words in re.findall(r"^COPY ([^-].*) \S+$", dockerfile.read_text("utf-8"), re.MULTILINE):
        yield from words.split()


def _absent(extra: str) -> set[str]:
    """Modules that are installed here and not in an image with this extra."""
    installed: set[tuple[str, str]] = set()
    _add_requirements("maskq-server", {extra}, installed)
    names = {name for name, _ in installed} - {"maskq-server"}
    modules = packages_distributions().items()
    known = {module: {canonicalize_name(owner) for owner in owners} for module, owners in modules}
    return {module for module, owners in known.items() if not owners & names and "maskq-server" not in owners}


def _add_requirements(name: str, extras: set[str], found: set[tuple[str, str]]) -> None:
    """Add a distribution and everything it requires, with these extras."""
    for extra in {"", *extras} - {extra for each, extra in found if each == name}:
        found.add((name, extra))
        for requirement in _requirements(name):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                _add_requirements(canonicalize_name(requirement.name), requirement.extras, found)


def _requirements(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in requires(name) or []]
    except PackageNotFoundError:  # required on other systems only
        return []


@pytest.mark.parametrize("image", _PROGRAMS)
def test_an_image_without_the_library_that_isolates_decoders_is_not_built(root: Path, image: str) -> None:
    assert f"ctypes.CDLL('{LIBRARY}')" in (root / f"Dockerfile.{image}").read_text("utf-8")
