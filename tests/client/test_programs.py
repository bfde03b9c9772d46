"""The programs in `examples/` work against a real service that requires keys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest
from PIL import Image
from pycocotools.coco import COCO

from local.broker import free_port
from shared.settings import Settings
from testing.fleet import Fleet
from testing.required import require_program
from testing.scripted_pipeline import scripted_answer
from testing.servers import website
from testing.signing_secrets import webhook_secrets
from tests.keys import make_key

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]
_PROGRAMS = _ROOT / "examples"
_SETTINGS = {"MASKQ_REQUIRE_KEYS": "true", "MASKQ_URL_ALLOW_HTTP": "true", "MASKQ_URL_ALLOW_PRIVATE": "true"}
Run = Callable[..., str]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("guarded")
    with Fleet(folder, workers=1, deliverers=1, **_SETTINGS) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def key(fleet: Fleet) -> tuple[str, str]:
    """The id of an API key, and the key."""
    return make_key(Settings.of(redis_url=fleet.broker_url))


@pytest.fixture
def environment(fleet: Fleet, key: tuple[str, str]) -> dict[str, str]:
    found = {"MASKQ_URL": fleet.url, "MASKQ_API_KEY": key[1], "PYTHONWARNINGS": "error"}
    return {**os.environ, **found, "PYTHONPATH": str(_ROOT / "client" / "src")}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path, photo: Path) -> Run:
    """Runs a program in a folder with `photo.png`, and returns what it printed."""

    def run(name: str, *arguments: str) -> str:
        command = [] if name.endswith(".sh") else [sys.executable]
        command += [str(_PROGRAMS / name), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def test_every_program_is_listed_and_tested() -> None:
    files = {path.name for path in _PROGRAMS.iterdir() if path.is_file()} - {"README.md"}
    listed = re.findall(r"^\| \[.*?\]\((.*?)\)", (_PROGRAMS / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(files)
    assert {name for name in files if f'"{name}"' not in Path(__file__).read_text("utf-8")} == set()


def test_one_image(run: Run, png: bytes, tmp_path: Path) -> None:
    (found,) = scripted_answer("segment cat", png).objects
    assert run("one_image.py", "photo.png", "cat") == f"{found.label} 1.0 {tuple(found.box)} 1\n"
    assert _size(tmp_path / "overlay.png") == (64, 48)


def test_an_array(run: Run) -> None:
    printed = run("numpy_array.py")
    assert re.fullmatch(r"segment red square \(120, 160\) \[[\d. ]+\]\n", printed), printed


def test_the_states_of_a_job(run: Run) -> None:
    *_, last_state, objects = run("job_events.py", "photo.png", "cat").splitlines()
    assert (last_state, objects) == ("succeeded None", "objects: 1")


def test_several_images_with_an_event_loop(run: Run, png: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.png").write_bytes(png)
    printed = run("with_event_loop.py", "cat", "photo.png", "other.png", "missing.png").splitlines()
    assert sorted(line.split()[0] for line in printed) == ["missing.png", "other.png", "photo.png"]
    assert sum("Segment" in line or "Result" in line for line in printed) == 2


def test_a_folder_as_a_coco_data_set(run: Run, png: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(png + bytes([number]))
    (folder / "notes.txt").write_text("no image")
    run("folder_to_coco.py", "photos", "cat", "coco.json")
    coco = COCO(tmp_path / "coco.json")
    assert sorted(each["file_name"] for each in coco.imgs.values()) == ["0.png", "1.png", "2.png"]
    assert [int(coco.annToMask(each).sum()) for each in coco.anns.values()] == [1, 1, 1]


def test_supervision_draws_the_objects(run: Run, tmp_path: Path) -> None:
    run("with_supervision.py", "photo.png", "cat")
    with Image.open(tmp_path / "annotated.png") as drawn, Image.open(tmp_path / "photo.png") as photo:
        assert drawn.size == photo.size
        assert drawn.tobytes() != photo.convert("RGB").tobytes()


def test_a_task_for_label_studio(run: Run, png: bytes) -> None:
    class Photo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(png)))
            self.end_headers()
            self.wfile.write(png)

        def log_message(self, *_: object) -> None:
            pass

    with website(Photo) as url:
        (task,) = json.loads(run("label_studio.py", f"{url}/photo.png", "cat"))
    assert task["data"] == {"image": f"{url}/photo.png"}
    (region,) = task["predictions"][0]["result"]
    assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "image", "brushlabels")
    assert (region["original_width"], region["original_height"]) == (64, 48)


@pytest.mark.parametrize("name", ["photo.png", "a;b, c.png"])
def test_curl_alone(run: Run, photo: Path, tmp_path: Path, name: str) -> None:
    require_program("curl")
    photo.rename(tmp_path / name)
    run("curl.sh", name, "cat ; dog")
    result = json.loads((tmp_path / "result.json").read_text())
    assert [each["label"] for each in result["objects"]] == ["segment cat ; dog"]
    assert _size(tmp_path / "overlay.png") == (64, 48)


def test_curl_says_why_a_job_is_refused(environment: dict[str, str], photo: Path, tmp_path: Path) -> None:
    require_program("curl")
    program = [str(_PROGRAMS / "curl.sh"), "photo.png", ""]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 22
    assert b"422" in done.stderr


def test_a_webhook_is_received_once(fleet: Fleet, key: tuple[str, str], png: bytes) -> None:
    key_id, text = key
    port, secret = free_port(), webhook_secrets(Settings.of(redis_url=fleet.broker_url), key_id)[0]
    program = "webhook_receiver.py".removesuffix(".py")
    serve = ["--app-dir", str(_PROGRAMS), "--port", str(port), "--log-level", "warning", f"{program}:app"]
    receiver = fleet.start("receiver", [sys.executable, "-m", "uvicorn", *serve], WEBHOOK_SECRET=secret)
    with httpx2.Client(base_url=fleet.url, headers={"Authorization": f"Bearer {text}"}, verify=False) as client:
        data = {"prompt": "cat", "webhook_url": f"http://127.0.0.1:{port}/maskq"}
        job = client.post("/segment/", data=data, files={"image_file": ("a.png", png)}).json()

        def is_delivered() -> bool:
            deliveries = client.get(f"/jobs/{job['id']}/webhooks").json()["deliveries"]
            return [each["state"] for each in deliveries] == ["delivered"]

        fleet.wait_for(is_delivered, "the delivery")
        forged = httpx2.post(data["webhook_url"], json={"data": job}, headers={"webhook-id": "evt_1"})
    assert forged.status_code == 401
    assert fleet.log(receiver).read_text("utf-8").splitlines() == [f"{job['id']} succeeded"]


def test_the_page_on_webhooks_shows_the_program() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```", (_ROOT / "docs" / "webhooks.md").read_text("utf-8"), re.S | re.M)
    assert (_PROGRAMS / "webhook_receiver.py").read_text("utf-8").endswith(f'"""\n\n{shown}')
