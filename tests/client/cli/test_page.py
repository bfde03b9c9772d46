"""docs/cli.md agrees with the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from maskq.cli.app import app, run
from maskq.cli.exit_status import ExitStatus
from typer.main import get_command


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "cli.md").read_text("utf-8")


def test_the_page_lists_every_command(page: str) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert len(commands) > 10
    assert set(re.findall(r"^\| `maskq ([\w-]+)", page, re.MULTILINE)) == set(commands)


def test_the_page_lists_every_exit_status(page: str) -> None:
    listed = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert listed == [str(status.value) for status in ExitStatus]


def test_every_option_of_an_example_exists(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"maskq (segment) (.*)", "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.M)))
    assert len(examples) > 3
    for name, arguments in examples:
        assert run([name, "--help"]) == ExitStatus.OK
        shown = capsys.readouterr().out
        assert [option for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", arguments) if option not in shown] == []
