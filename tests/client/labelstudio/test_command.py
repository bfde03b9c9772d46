"""The command `maskq labelstudio` before it serves."""

from __future__ import annotations

import socket

import pytest
from maskq.cli.app import run
from maskq.cli.exit_status import ExitStatus


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--label-studio-url", "labels.example.com"], "the URL of Label Studio"),
        (["--label-studio-url", "https://u:p@labels.example.com"], "the URL of Label Studio"),
        (["--basic-auth-user", "me"], "belong together"),
        (["--port", "70000"], "--port"),
        (["--score-threshold", "2"], "--score-threshold"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["labelstudio", *arguments]) == ExitStatus.USAGE
    assert reason in capfd.readouterr().err


def test_a_port_in_use_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["labelstudio", "--port", port]) == ExitStatus.USAGE
    assert f"127.0.0.1:{port}" in capfd.readouterr().err


def test_a_missing_package_is_named(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "starlette", None)
    assert run(["labelstudio"]) != ExitStatus.OK
    assert "maskq[labelstudio]" in capfd.readouterr().err
