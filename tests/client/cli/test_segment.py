"""`maskq segment`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from maskq import Client
from maskq.cli.app import run
from maskq.cli.exit_status import ExitStatus
from PIL import Image

from testing.scripted_pipeline import scripted_answer
from tests.client.cli.processes import maskq


def test_the_objects_are_a_table(service: str, photo: Path, png: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", service, "segment", str(photo), "cat"]) == ExitStatus.OK
    box = scripted_answer("segment cat", png).objects[0].box
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split() == ["0", "segment", "cat", "1.000", *map(str, box), "1"]


def test_every_file_is_written(
    service: str, client: Client, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["job.json", "overlay.png", "overlay.JPG", "cat-mask.png"]
    outputs = [word for name in names for word in ("-o", str(tmp_path / name))]
    more = ["--overlay", str(tmp_path / "o.webp"), "--masks", str(tmp_path / "masks"), "--coco", str(tmp_path / "coco")]
    assert run(["--url", service, "segment", str(photo), "cat", *outputs, *more]) == ExitStatus.OK
    result = client.segment(photo, "cat")
    mask = result[0].mask
    assert mask is not None
    for path in (tmp_path / "cat-mask.png", tmp_path / "masks" / "0.png"):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), mask)
    for name, kind in (("overlay.png", "PNG"), ("overlay.JPG", "JPEG"), ("o.webp", "WEBP")):
        with Image.open(tmp_path / name) as picture:
            assert (picture.size, picture.format) == ((64, 48), kind)
    assert json.loads((tmp_path / "job.json").read_text())["result"] == result.json
    assert len(json.loads((tmp_path / "coco").read_text())["annotations"]) == 1


def test_options_arrive(service: str, client: Client, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--ref", "r", "--metadata", '{"n": 1}', "--priority", "high", "--mask-format", "polygon"]
    options += ["--threshold", "cat=0.5", "--tiles", "1", "--duplicates", "keep", "--timeout", "60", "--model", "demo"]
    assert run(["--url", service, "segment", str(photo), "cat", "--json", *options]) == ExitStatus.OK
    job = json.loads(capsys.readouterr().out)
    assert (job["ref"], job["metadata"], job["priority"], job["model_id"]) == ("r", {"n": 1}, "high", "demo")
    assert job["deadline_at"]
    assert run(["--url", service, "segment", str(photo), "cat", "--threshold", "0.5", "--json"]) == ExitStatus.OK


def test_without_waiting_the_id_is_printed(
    service: str, client: Client, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--url", service, "segment", str(photo), "cat", "--no-wait"]) == ExitStatus.OK
    assert client.job(capsys.readouterr().out.strip()).ref is None


def test_an_image_comes_from_standard_input(service: str, png: bytes) -> None:
    ended = maskq("--url", service, "segment", "-", "cat", input=png)
    assert (ended.returncode, ended.stderr) == (ExitStatus.OK, b"")
    ended = maskq("--url", service, "segment", "-", "cat", input=b"")
    assert ended.returncode == ExitStatus.USAGE
    assert b"empty" in ended.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["-o", "notes.txt"],
        ["-o", "missing/overlay.png"],
        ["--overlay", "overlay.json"],
        ["--coco", "."],
        ["--masks", __file__],
        ["--masks", f"{__file__}/masks"],
        ["--no-wait", "-o", "job.json"],
        ["--threshold", "0.5", "--threshold", "0.6"],
        ["--threshold", "cat=much"],
        ["--metadata", "[]"],
        ["--metadata", "{"],
        ["--timeout", "soon"],
    ],
)
def test_wrong_options_send_nothing(wrong: list[str], photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", "http://127.0.0.1:9", "segment", str(photo), "cat", *wrong]) == ExitStatus.USAGE
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_what_the_service_refuses_has_its_own_exit_status(
    service: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.png").write_text("no image")
    assert run(["--url", service, "segment", str(tmp_path / "notes.png"), "cat"]) == ExitStatus.REFUSED
    assert run(["--url", service, "segment", str(photo), "cat", "--priority", "urgent"]) == ExitStatus.REFUSED
    assert run(["--url", service, "segment", str(tmp_path / "missing.png"), "cat"]) == ExitStatus.USAGE
    assert "missing.png" in capsys.readouterr().err


def test_a_full_disk_is_one_line(service: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", service, "segment", str(photo), "cat", "--coco", "/dev/full"]) == ExitStatus.FAILED
    assert "No space left" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("option", ["-o", "--overlay", "--masks"])
def test_a_folder_that_is_read_only_is_found_before_a_job_is_made(tmp_path: Path, option: str) -> None:
    tmp_path.chmod(0o555)
    assert (
        run(["--url", "http://127.0.0.1:9", "segment", "-", "cat", option, str(tmp_path / "x.png")]) == ExitStatus.USAGE
    )
