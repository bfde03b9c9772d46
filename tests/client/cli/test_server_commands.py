"""Commands of the server, which `maskq` finds by their entry points."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
from maskq.cli.commands.server import COMMANDS
from maskq.cli.exit_status import ExitStatus

from testing.fleet import Fleet
from tests.client.cli.processes import environment, maskq

_CONFIGURATION_STATUS = 78


def _distribution(folder: Path, entry_points: dict[str, str]) -> Path:
    """A folder with metadata of the server's distribution. What may be installed there comes after it."""
    metadata = folder / "maskq_server-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: maskq-server\nVersion: 0.1.0\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[maskq.commands]", *lines, ""]))
    return folder


@pytest.fixture
def declared(root: Path) -> dict[str, str]:
    """The entry points of pyproject.toml. The environment of the tests may be that of another tree."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    entry_points: dict[str, str] = project["entry-points"]["maskq.commands"]
    return entry_points


@pytest.fixture
def installed(tmp_path: Path, declared: dict[str, str]) -> Path:
    return _distribution(tmp_path / "installed", declared)


def _run(paths: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return maskq(*arguments, env=environment(paths, **variables), cwd=paths)


def test_the_server_declares_every_command(declared: dict[str, str]) -> None:
    assert declared.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_that_of_the_server_with_the_name_that_was_typed(installed: Path, name: str) -> None:
    ended = _run(installed, name, "--help")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(f"usage: maskq {name} ".encode())
    assert not (installed / ".data").exists()  # no broker was started for it


def test_arguments_and_exit_statuses_are_passed_on(installed: Path, tmp_path: Path) -> None:
    with Fleet(tmp_path / "fleet", workers=0, deliverers=0) as fleet:
        made = _run(installed, "keys", "create", "a name", "--scopes", "read", REDIS_URL=fleet.broker_url)
        assert (made.returncode, made.stdout[:6]) == (0, b"maskq_")
        listed = _run(installed, "keys", "list", REDIS_URL=fleet.broker_url)
        assert b"a name" in listed.stdout
        shown = _run(installed, "webhook-secrets", "show", REDIS_URL=fleet.broker_url)
        assert (shown.returncode, shown.stdout[:6]) == (0, b"whsec_")
        assert _run(installed, "keys", "revoke", "unknown", REDIS_URL=fleet.broker_url).returncode == 1
    ended = _run(installed, "up", "--port", "none")
    assert (ended.returncode, ended.stderr.count(b"\n")) == (_CONFIGURATION_STATUS, 1)
    assert b"maskq up --help" in ended.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_without_the_server_one_line_says_how_to_install_it(tmp_path: Path, name: str, root: Path) -> None:
    ended = _run(_distribution(tmp_path, {}), name, "--help")
    assert (ended.returncode, ended.stderr.count(b"\n")) == (ExitStatus.USAGE, 1)
    assert f"scripts/{name}".encode() in ended.stderr
    assert (root / "scripts" / name).exists()


def test_an_incomplete_server_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("import a_package_that_is_missing\n")
    ended = _run(_distribution(tmp_path, {"up": "half:up"}), "up")
    assert (ended.returncode, ended.stderr.count(b"\n")) == (ExitStatus.USAGE, 1)
    assert b"a_package_that_is_missing" in ended.stderr
