"""`maskq jobs`, `maskq job` and `maskq cancel`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from maskq import Client
from maskq.cli.app import run
from maskq.cli.exit_status import ExitStatus

from testing.scripted_pipeline import ENDLESS


def test_jobs_are_listed_newest_first(
    service: str, client: Client, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [client.segment(photo, "cat").job.id for _ in range(2)]
    assert run(["--url", service, "jobs", "--limit", "2"]) == ExitStatus.OK
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ids[::-1]
    assert run(["--url", service, "jobs", "-n", "1", "--json"]) == ExitStatus.OK
    assert [job["id"] for job in json.loads(capsys.readouterr().out)] == ids[1:]


def test_a_job_is_shown_with_its_objects(
    service: str, client: Client, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = client.segment(photo, "cat", ref="frame-17").job
    assert run(["--url", service, "job", job.id, "--wait"]) == ExitStatus.OK
    out = capsys.readouterr().out
    assert job.id in out
    assert "frame-17" in out
    assert "segment cat" in out
    assert job.json["completed_at"] in out
    assert out.splitlines()[0].split() == ["id", job.id]


def test_a_canceled_job_has_its_own_exit_status(
    service: str, client: Client, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = client.submit(photo, ENDLESS)
    assert run(["--url", service, "job", job.id, "--wait", "--timeout", "0"]) == ExitStatus.UNFINISHED
    assert run(["--url", service, "cancel", job.id, job.id]) == ExitStatus.OK
    assert run(["--url", service, "cancel", job.id, "unknown"]) == ExitStatus.REFUSED
    assert run(["--url", service, "job", job.id, "--wait"]) == ExitStatus.UNSUCCESSFUL
    assert run(["--url", service, "job", "unknown"]) == ExitStatus.REFUSED


def test_jobs_are_found_by_state_and_ref(
    service: str, client: Client, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = client.submit(photo, "cat", ref="by-ref").wait()
    canceled = client.submit(photo, ENDLESS, ref="by-ref").cancel()

    def found(*options: str) -> list[str]:
        assert run(["--url", service, "jobs", "--ref", "by-ref", "--json", *options]) == ExitStatus.OK
        return [job["id"] for job in json.loads(capsys.readouterr().out)]

    assert found() == [canceled.id, done.id]
    assert found("--status", "succeeded") == [done.id]
    assert found("--status", "succeeded", "--status", "canceled") == [canceled.id, done.id]
    assert found("--status", "failed") == []
    assert run(["--url", service, "jobs", "--status", "nope"]) == ExitStatus.REFUSED


def test_no_jobs_are_said_in_words(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", service, "jobs", "--ref", "nobody"]) == ExitStatus.OK
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "maskq: there are no such jobs\n")
