"""What `maskq` is as a process: exit statuses, signals, pipes and terminals."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from maskq import Client, RequestError
from maskq.cli.app import run
from maskq.cli.exit_status import ExitStatus
from maskq.cli.output import plain, text_of

from tests.client.cli.hostile_service import EVIL, JOB_ID, HostileService, hostile_service
from tests.client.cli.processes import environment, maskq


def test_an_unreachable_service_has_its_own_exit_status() -> None:
    program = "import maskq.transport as t, sys; t.RETRY_FOR_S = 0\n"
    program += "import maskq.client as c; c.Client.__init__.__kwdefaults__['retry_for_s'] = 0\n"
    program += "from maskq.cli.entry import main; main()"
    command = [sys.executable, "-c", program, "--url", "http://127.0.0.1:9", "models"]
    ended = subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    assert ended.returncode == ExitStatus.UNREACHABLE
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [[], ["nope"], ["job"], ["jobs", "--nope"], ["--url", "x", "jobs"]])
def test_a_wrong_command_line_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == ExitStatus.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitStatus.USAGE
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "segment" in shown.out
    assert len(shown.out.splitlines()) > 20


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["segment", "a.png"], "'PROMPT'. See maskq segment --help"),
        (["jobs", "--url", "http://127.0.0.1:9"], "come before the command"),
        (["models", "--api-key", "k"], "come before the command"),
        (["nope"], "See maskq --help"),
    ],
)
def test_a_wrong_command_line_says_where_to_look(
    arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitStatus.USAGE
    assert advice in capsys.readouterr().err


def test_something_else_at_the_url_says_where_to_look(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", f"{service}/elsewhere", "models"]) == ExitStatus.REFUSED
    assert "maskq doctor" in capsys.readouterr().err


def test_a_missing_key_is_asked_for_in_the_words_of_a_command_line() -> None:
    refused = RequestError.of(401, {}, b'{"type": "key_required", "title": "An API key is required"}')
    assert "MASKQ_API_KEY" in text_of(refused)


@pytest.mark.parametrize("columns", ["100", "80", "40"])
def test_a_narrow_terminal_breaks_nothing_but_texts(service: str, client: Client, photo: Path, columns: str) -> None:
    job = client.segment(photo, "cat sitting on a mat ; dog lying below a table").job
    shown = _on_terminal("--url", service, "jobs", "-n", "1", TERM="xterm", NO_COLOR="1", COLUMNS=columns).decode()
    assert f"{job.id}  succeeded  {job.created_at:%Y-%m-%d %H:%M:%S}  segment cat" in shown


def test_a_narrow_terminal_shows_whole_boxes(service: str, photo: Path) -> None:
    shown = _on_terminal("--url", service, "segment", str(photo), "cat", TERM="xterm", NO_COLOR="1", COLUMNS="30")
    assert b"box (x0 y0 x1 y1)" in shown
    assert b"area (pixels)" in shown


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == ExitStatus.OK
    assert capsys.readouterr().out.startswith("maskq ")


def test_the_help_names_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == ExitStatus.OK
    words = capsys.readouterr().out.split()
    assert [status for status in ExitStatus if str(status.value) not in words] == []


def test_help_loads_neither_pictures_nor_arrays() -> None:
    program = "import sys; from maskq.cli.app import run; run(['--help'])\n"
    program += "sys.exit(bool({'numpy', 'PIL', 'mcp', 'supervision'} & sys.modules.keys()))"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_ctrl_c_ends_the_waiting_and_names_the_job(photo: Path) -> None:
    with hostile_service() as service:
        command = [sys.executable, "-m", "maskq", "--url", service.url, "segment", str(photo), "cat"]
        with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as process:
            assert service.is_waited_for.wait(60)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
    assert process.returncode == ExitStatus.INTERRUPTED
    words = f"maskq: job {JOB_ID} goes on: maskq job {JOB_ID} --wait shows it, maskq cancel {JOB_ID} ends it\n"
    assert error.decode() == words


def test_a_closed_pipe_is_quiet(service: str, client: Client, photo: Path) -> None:
    client.submit(photo, "cat")
    reader, writer = os.pipe()
    os.close(reader)
    for arguments in (["jobs"], ["jobs", "--json"], ["models"], ["--version"]):
        ended = maskq("--url", service, *arguments, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
        assert (ended.returncode, ended.stderr) == (ExitStatus.OUTPUT_CLOSED, b"")
    os.close(writer)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_one_line(service: str, unbuffered: str) -> None:
    variables = environment(PYTHONUNBUFFERED=unbuffered)
    with Path("/dev/full").open("wb") as full:
        ended = maskq(
            "--url", service, "models", capture_output=False, stdout=full, stderr=subprocess.PIPE, env=variables
        )
    assert ended.returncode == ExitStatus.FAILED
    assert ended.stderr.count(b"\n") == 1


def _on_terminal(*arguments: str, **variables: str) -> bytes:
    ours, theirs = pty.openpty()
    ended = maskq(*arguments, capture_output=False, stdout=theirs, stderr=theirs, env=environment(**variables))
    os.close(theirs)
    assert ended.returncode in (ExitStatus.OK, ExitStatus.REFUSED, ExitStatus.UNSUCCESSFUL)
    text = os.read(ours, 65_536)
    os.close(ours)
    return text


@pytest.mark.parametrize("arguments", ["segment - cat", "batch --from-file - cat -o out"])
def test_a_standard_input_that_is_closed_is_named(arguments: str, tmp_path: Path) -> None:
    shell = ["sh", "-c", f"exec {sys.executable} -m maskq {arguments} <&-"]
    ended = subprocess.run(shell, env=environment(), cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, b"which is closed" in ended.stderr) == (ExitStatus.USAGE, True)


def test_colours_are_for_terminals_only(service: str) -> None:
    assert b"\x1b[" in _on_terminal("--url", service, "job", "unknown", TERM="xterm")
    assert b"\x1b[3" not in _on_terminal("--url", service, "job", "unknown", TERM="xterm", NO_COLOR="1")
    assert b"\x1b" not in maskq("--url", service, "job", "unknown").stderr


@pytest.mark.parametrize(
    "command", ["jobs", "job succeeded", "job failed", "job missing", "models", "cancel queued missing"]
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_texts_of_the_service_cannot_control_the_terminal(
    hostile: HostileService, command: str, options: list[str]
) -> None:
    shown = _on_terminal("--url", hostile.url, *command.split(), *options, TERM="xterm", NO_COLOR="1", COLUMNS="900")
    text = shown.decode()
    assert "[red]x[/red]" in text
    assert [c for c in text if not c.isprintable() and c not in "\r\n\x1b"] == []
    assert set(re.findall("\x1b.{3}", text)) <= {"\x1b[1m", "\x1b[0m"}  # bold headings


def test_arguments_are_shown_and_not_obeyed(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", service, "cancel", EVIL]) == ExitStatus.REFUSED
    assert run([EVIL]) == ExitStatus.USAGE
    captured = capsys.readouterr().err
    assert captured.count("[red]x[/red] \\x1b]0;") == 2
    assert captured.count("\n") == 2


def test_what_is_not_printable_is_escaped() -> None:
    assert plain("caf\u00e9 \u732b\n\x1b\udc80") == "caf\u00e9 \u732b\\n\\x1b\\udc80"
    assert plain(None) == ""


def test_an_answer_that_nobody_understands_is_one_line(hostile: HostileService, photo: Path) -> None:
    ended = maskq("--url", f"{hostile.url}/elsewhere", "jobs", "--json")
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (ExitStatus.REFUSED, b"", 1)
    ended = maskq("--url", f"{hostile.url}/jobs", "models")
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (ExitStatus.REFUSED, b"", 1)
    program = "from maskq.cli.app import run; from maskq import Client; Client.models = lambda self: [1]\n"
    program += "import sys; sys.exit(run(['models', '--json']))"
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, env=environment(), capture_output=True, check=False)
    assert (process.returncode, process.stderr.count(b"\n")) == (ExitStatus.FAILED, 1)
