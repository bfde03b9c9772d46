"""`maskq batch` as a process, against a real service."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from testing.pictures import encoded, gradient
from testing.scripted_pipeline import SLOW, scripted_answer
from tests.client.batch.processes import Command, ended, wait_until_ended

Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.slow


def test_a_batch_that_is_killed_twice_does_each_image_once(
    start: Command, run: Run, photos: Path, tmp_path: Path, jobs: Callable[[], int]
) -> None:
    before, out = jobs(), tmp_path / "out"
    arguments = (photos, f"{SLOW} kill", "-o", out, "--coco", "--masks", "--concurrency", "4")
    for count in (15, 35):
        process = start(*arguments)
        wait_until_ended(out, count)
        process.kill()
        process.wait()
    status, _, err = run(*arguments)
    assert status == 0, err
    assert jobs() - before == 60
    assert sorted(end["id"] for end in ended(out)) == list(range(1, 61))
    data = COCO(str(out / "annotations.json"))
    assert sorted(each["file_name"] for each in data.imgs.values()) == sorted(each.name for each in photos.iterdir())
    assert len(data.anns) == 60
    assert len(list(out.rglob("0.png"))) == 60
    assert list(out.rglob("*.part")) == []


def _pixels(path: Path) -> npt.NDArray[Any]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_results_are_those_of_the_service(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outputs = ("--coco", "--masks", "--overlays", "--labelstudio", "--from-name", "brush", "--to-name", "picture")
    status, _, err = run(photos / "07.png", photos / "08.png", "cat", "-o", out, *outputs)
    assert status == 0, err
    data = COCO(str(out / "annotations.json"))
    for image in data.imgs.values():
        expected = scripted_answer("segment cat", (photos / image["file_name"]).read_bytes()).objects[0]
        (annotation,) = data.imgToAnns[image["id"]]
        x, y = expected.box[:2]
        assert annotation["bbox"] == [x, y, 1, 1]
        pixels = _pixels(out / "masks" / image["file_name"] / "0.png")
        assert (pixels == coco_mask.decode(annotation["segmentation"])).all()
        assert np.argwhere(pixels).tolist() == [[y, x]]
        overlay = _pixels(out / "overlays" / f"{image['file_name']}.png")
        assert overlay.shape[:2] == (image["height"], image["width"])
    tasks = json.loads((out / "labelstudio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == ["/data/local-files/?d=07.png", "/data/local-files/?d=08.png"]
    (region,) = tasks[0]["predictions"][0]["result"]
    assert (region["from_name"], region["to_name"]) == ("brush", "picture")


def test_ctrl_c_writes_what_is_done_and_the_same_command_goes_on(
    start: Command, run: Run, photos: Path, tmp_path: Path, jobs: Callable[[], int]
) -> None:
    before, out = jobs(), tmp_path / "out"
    arguments = (photos, f"{SLOW} stop", "-o", out, "--coco", "--concurrency", "4")
    process = start(*arguments)
    wait_until_ended(out, 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in err.decode()
    first = {each["file_name"]: each["id"] for each in json.loads((out / "annotations.json").read_text())["images"]}
    assert 10 <= len(first) == len(ended(out)) < 60
    assert run(*arguments)[0] == 0
    last = {each["file_name"]: each["id"] for each in json.loads((out / "annotations.json").read_text())["images"]}
    assert len(last) == len(set(last.values())) == 60
    assert first.items() <= last.items()
    assert jobs() - before == 60


def test_a_finished_batch_sends_nothing_more(run: Run, photos: Path, tmp_path: Path, jobs: Callable[[], int]) -> None:
    out = tmp_path / "out"
    assert run(photos, "cat", "-o", out)[0] == 0
    before = jobs()
    assert run(photos, "cat", "-o", out, "--coco")[0] == 0
    assert jobs() == before
    assert len(COCO(str(out / "annotations.json")).imgs) == 60


def test_failed_images_are_listed_and_tried_again_on_request(run: Run, tmp_path: Path, png: bytes) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "good.png").write_bytes(png)
    for name in ("text.png", "empty.jpg"):
        (photos / name).write_bytes(b"nothing" * (name == "text.png"))
    (photos / "cut.png").write_bytes(png[:40])
    assert run(photos, "cat", "-o", out)[0] == 5
    with (out / "failures.csv").open(newline="") as file:
        failures = {row["image"]: row for row in csv.DictReader(file)}
    assert set(failures) == {"text.png", "empty.jpg", "cut.png"}
    assert failures["text.png"]["type"] == "unsupported_image"
    assert all(row["detail"] for row in failures.values())
    for name in failures:
        (photos / name).write_bytes(png)
    assert run(photos, "cat", "-o", out)[0] == 5
    assert len(ended(out)) == 4
    assert run(photos, "cat", "-o", out, "--retry-failed")[0] == 0
    assert not (out / "failures.csv").exists()


@pytest.mark.parametrize("name", ["prompt", "score_threshold", "masks", "files have changed", "folder"])
def test_another_batch_in_the_same_folder_is_refused(
    run: Run, tmp_path: Path, png: bytes, name: str, jobs: Callable[[], int]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "one.png").write_bytes(png)
    assert run(photos, "cat", "-o", out)[0] == 0
    before = jobs()
    if name == "files have changed":
        (photos / "one.png").write_bytes(encoded(gradient(65, 48)))
    if name == "folder":
        photos = photos.rename(tmp_path / "moved")
    more = {"score_threshold": ["--threshold", "0.5"], "masks": ["--masks"]}.get(name, [])
    arguments = (photos, "dog" if name == "prompt" else "cat", "-o", out, *more)
    status, _, err = run(*arguments)
    assert (status, jobs()) == (2, before)
    assert name in err
    assert "--restart" in err
    assert run(*arguments, "--restart")[0] == 0
    assert jobs() == before + 1


def test_a_batch_that_was_refused_does_not_keep_its_mistake(
    run: Run, photos: Path, tmp_path: Path, jobs: Callable[[], int]
) -> None:
    out, before = tmp_path / "out", jobs()
    (photos / "missing.png").symlink_to("nowhere")
    assert run(photos, "cat", "-o", out, "--model", "nope")[0] == 3
    status, _, err = run(photos, "cat", "-o", out)
    assert (status, jobs() - before) == (5, len(list(photos.iterdir())) - 1), err


def test_what_would_never_end_is_not_read(run: Run, tmp_path: Path, png: bytes) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "one.png").write_bytes(png)
    os.mkfifo(photos / "pipe.png")
    (photos / "zero.png").symlink_to("/dev/zero")
    assert run(photos, "cat", "-o", out, "--coco")[0] == 0
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 1


def test_images_that_were_added_are_done_too(run: Run, tmp_path: Path, png: bytes) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "m.png").write_bytes(png)
    assert run(photos, "cat", "-o", out)[0] == 0
    (photos / "a.png").write_bytes(png)
    assert run(photos, "cat", "-o", out, "--coco")[0] == 0
    images = json.loads((out / "annotations.json").read_text())["images"]
    assert [(each["id"], each["file_name"]) for each in images] == [(1, "m.png"), (2, "a.png")]


def test_odd_names_arrive_as_they_are(run: Run, tmp_path: Path, png: bytes) -> None:
    names = [
        "a b.png",
        "é日本.png",
        "new\nline.png",
        "-x.png",
        "[red]x.png",
        "one/same.png",
        "two/same.png",
        "q?#%.png",
    ]
    photos, out = tmp_path / "photos", tmp_path / "photos" / "out"
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(png)
    (photos / ".hidden.png").write_bytes(png)
    (photos / "notes.txt").write_text("no image")
    for _ in range(2):  # the second time, the results are there already
        status, lines, err = run(photos, "cat", "-o", out, "--coco", "--masks", "--overlays", "--labelstudio", "--json")
        assert status == 0, err
        *images, summary = map(json.loads, lines.splitlines())
        assert summary["summary"]["done"] == len(names)
    assert images == []
    data = json.loads((out / "annotations.json").read_text())
    assert sorted(each["file_name"] for each in data["images"]) == sorted(names)
    assert all(
        (out / "masks" / name / "0.png").exists() and (out / "overlays" / f"{name}.png").exists() for name in names
    )


def test_a_list_of_paths_is_read(run: Run, tmp_path: Path, png: bytes) -> None:
    paths = [tmp_path / "new\nline.png", tmp_path / "no-kind"]
    for path in paths:
        path.write_bytes(png)
    listed = tmp_path / "list"
    listed.write_text("\0".join(map(str, [*paths, tmp_path / "gone.png"])))
    status, lines, _ = run("cat", "--from-file", listed, "-o", tmp_path / "out", "--json")
    *images, summary = map(json.loads, lines.splitlines())
    assert status == 5
    assert {each["image"]: each["status"] for each in images} == {
        "new\nline.png": "done",
        "no-kind": "done",
        "gone.png": "failed",
    }
    assert summary["summary"]["failed"] == 1
    assert next(each for each in images if each["status"] == "failed")["error"]["type"] == "file_unreadable"


def test_two_processes_do_not_work_on_one_folder(start: Command, run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(photos, f"{SLOW} lock", "-o", out, "--concurrency", "1")
    wait_until_ended(out, 1)
    status, _, err = run(photos, f"{SLOW} lock", "-o", out)
    assert status == 2
    assert "another process" in err


@pytest.mark.parametrize(("option", "value"), [("--priority", "urgent"), ("--model", "none")])
def test_what_concerns_all_images_stops_the_batch(
    run: Run, photos: Path, tmp_path: Path, option: str, value: str
) -> None:
    status, _, err = run(photos, "cat", "-o", tmp_path / "out", option, value)
    assert status == 3
    assert value in err or option[2:] in err
    assert ended(tmp_path / "out") == []


def test_a_service_that_is_away_fails_no_image(start: Command, photos: Path, tmp_path: Path) -> None:
    with socket.socket() as bound:  # nobody listens
        bound.bind(("127.0.0.1", 0))
        process = start(photos, "cat", "-o", tmp_path / "out", url=f"http://127.0.0.1:{bound.getsockname()[1]}")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "the same command goes on" in err.decode()
    assert ended(tmp_path / "out") == []


def test_the_results_have_a_folder_of_their_own(run: Run, photos: Path) -> None:
    status, _, err = run(photos, "cat", "-o", photos)
    assert (status, "folder of their own" in err) == (2, True)
