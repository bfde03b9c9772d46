"""The exit status of programs, and the explanation of a wrong configuration."""

from __future__ import annotations

import os

import pytest

from shared.errors import CheckpointError, ConfigurationError
from shared.process import entry_point


@pytest.fixture(autouse=True)
def _without_private_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would last as long as the process that runs the tests."""
    monkeypatch.setattr(entry_point, "make_memory_private", lambda: True)


@pytest.mark.parametrize("status", [0, 1])
def test_a_program_exits_with_the_status_of_main(status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        entry_point.run(lambda: status)
    assert ended.value.code == status


@pytest.mark.parametrize("error", [ConfigurationError, CheckpointError])
def test_a_wrong_configuration_is_one_line_and_status_78(
    error: type[ConfigurationError], capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        raise error("change this")

    with pytest.raises(SystemExit) as ended:
        entry_point.run(main)
    assert ended.value.code == os.EX_CONFIG == 78
    assert capsys.readouterr().err == "maskq: change this\n"
