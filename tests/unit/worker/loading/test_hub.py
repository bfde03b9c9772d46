"""Fetching official checkpoints from a server that imitates the hub and its faults."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from shared.errors import CheckpointError
from shared.settings import Settings
from tests.hub import COMMIT, Hub, running_hub
from worker.loading import download as worker_download
from worker.loading import hub as worker_hub
from worker.loading.hub import damaged_files, fetch_checkpoint, fetch_small_files

_NAME = "google/paligemma2-3b-mix-224"
_WEIGHTS = "model.safetensors"


@pytest.fixture
def hub() -> Hub:
    return Hub(_NAME, {"config.json": b"{}", _WEIGHTS: os.urandom(200_000), "README.md": b"not wanted"})


@pytest.fixture
def url(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running_hub(hub) as url:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(worker_download, "_CHUNK_BYTES", 10_000)
        monkeypatch.setattr(worker_download, "_PAUSE_S", 0.01)
        yield url


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.of(cache_dir=tmp_path, hf_token=SecretStr("hf_test"))


@pytest.mark.usefixtures("url")
def test_a_checkpoint_is_fetched_completely_and_once(hub: Hub, settings: Settings) -> None:
    folder = fetch_checkpoint(_NAME, settings.checkpoint)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: hub.files[name] for name in ("config.json", _WEIGHTS)
    }
    sent = hub.sent_bytes
    assert fetch_checkpoint(_NAME, settings.checkpoint) == folder
    assert hub.sent_bytes == sent


@pytest.mark.usefixtures("url")
def test_an_interrupted_download_resumes_where_it_stopped(hub: Hub, settings: Settings) -> None:
    hub.cut[_WEIGHTS] = 1
    folder = fetch_checkpoint(_NAME, settings.checkpoint)
    assert (folder / _WEIGHTS).read_bytes() == hub.files[_WEIGHTS]
    assert hub.ranges == ["bytes=100000-"]


@pytest.mark.usefixtures("url")
def test_a_download_that_is_always_interrupted_is_an_error_and_keeps_its_part(hub: Hub, settings: Settings) -> None:
    hub.cut[_WEIGHTS] = 1_000
    with pytest.raises(CheckpointError, match="the next attempt resumes from there"):
        fetch_checkpoint(_NAME, settings.checkpoint)
    hub.cut.clear()
    hub.ranges.clear()
    assert (fetch_checkpoint(_NAME, settings.checkpoint) / _WEIGHTS).read_bytes() == hub.files[_WEIGHTS]
    assert len(hub.ranges) == 1


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("begun", [150_000, 200_000], ids=["in the middle", "before it was named"])
def test_a_fetch_that_was_stopped_resumes_at_the_next_attempt(
    hub: Hub, settings: Settings, tmp_path: Path, begun: int
) -> None:
    blobs = tmp_path / "hub" / f"models--{_NAME.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f".{hub.digest(_WEIGHTS)}.part").write_bytes(hub.files[_WEIGHTS][:begun])
    folder = fetch_checkpoint(_NAME, settings.checkpoint)
    assert (folder / _WEIGHTS).read_bytes() == hub.files[_WEIGHTS]
    assert hub.ranges == [f"bytes={begun}-"]


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("name", ["config.json", _WEIGHTS])
def test_files_with_wrong_bytes_are_deleted_and_can_be_fetched_again(hub: Hub, settings: Settings, name: str) -> None:
    hub.swapped.add(name)
    with pytest.raises(CheckpointError, match=r"wrong (digest|SHA-256)"):
        fetch_checkpoint(_NAME, settings.checkpoint)
    hub.swapped.clear()
    assert (fetch_checkpoint(_NAME, settings.checkpoint) / name).read_bytes() == hub.files[name]


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    ("status", "headers", "advice"),
    [
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "does not know HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, "has not accepted its licence"),
        (403, {}, "the right to read gated models"),
        (404, {"X-Error-Code": "RepoNotFound"}, "the hub has no google/paligemma2-3b-mix-224"),
        (429, {"Retry-After": "17"}, "try again in 17 seconds"),
        (500, {}, "answered 500"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: Hub, settings: Settings, status: int, headers: dict[str, str], advice: str
) -> None:
    hub.status, hub.headers = status, headers
    with pytest.raises(CheckpointError, match=advice):
        fetch_checkpoint(_NAME, settings.checkpoint)


@pytest.mark.usefixtures("url")
def test_a_full_disk_is_an_error_before_anything_is_fetched(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(CheckpointError, match=r"takes 0\.0 GB more .* set MASKQ_CACHE_DIR"):
        fetch_checkpoint(_NAME, settings.checkpoint)
    assert hub.sent_bytes < 100_000


@pytest.mark.usefixtures("url")
def test_a_repository_without_weights_is_an_error(hub: Hub, settings: Settings) -> None:
    del hub.files[_WEIGHTS]
    with pytest.raises(CheckpointError, match=r"no complete model\.safetensors"):
        fetch_checkpoint(_NAME, settings.checkpoint)


@pytest.mark.usefixtures("url")
def test_a_file_that_was_damaged_on_disk_is_found(settings: Settings) -> None:
    folder = fetch_checkpoint(_NAME, settings.checkpoint)
    assert damaged_files(folder) == []
    stored = (folder / _WEIGHTS).resolve()
    whole = stored.read_bytes()
    stored.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert [path.name for path in damaged_files(folder)] == [_WEIGHTS]


def test_a_local_folder_has_no_digests(tmp_path: Path) -> None:
    (tmp_path / ("0" * 64)).write_bytes(b"a local file that happens to be called so")
    assert worker_hub.has_digests(tmp_path) is False
    assert damaged_files(tmp_path) == []


@pytest.mark.usefixtures("url")
def test_a_public_model_of_one_s_own_needs_no_token(hub: Hub, tmp_path: Path) -> None:
    settings = Settings.of(cache_dir=tmp_path).checkpoint
    folder = fetch_checkpoint(_NAME, settings, is_gated=False)
    assert (folder / _WEIGHTS).read_bytes() == hub.files[_WEIGHTS]
    hub.status, hub.headers = 401, {"X-Error-Code": "RepoNotFound"}
    with pytest.raises(CheckpointError, match="no me/private that everybody may read: check the name, or set HF_TOKEN"):
        fetch_checkpoint("me/private", settings, is_gated=False)


@pytest.mark.usefixtures("url")
def test_files_in_folders_of_a_repository_are_not_fetched(hub: Hub, settings: Settings) -> None:
    hub.files["checkpoint-500/" + _WEIGHTS] = os.urandom(1_000)
    folder = fetch_checkpoint(_NAME, settings.checkpoint)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", _WEIGHTS]
    sent = hub.sent_bytes
    assert fetch_checkpoint(_NAME, settings.checkpoint) == folder
    assert hub.sent_bytes == sent


@pytest.mark.usefixtures("url")
def test_a_processor_is_fetched_without_the_weights_and_once(hub: Hub, settings: Settings) -> None:
    folder = fetch_small_files(_NAME, settings.checkpoint)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    sent = hub.sent_bytes
    assert fetch_small_files(_NAME, settings.checkpoint) == folder
    assert hub.sent_bytes == sent
    assert (fetch_checkpoint(_NAME, settings.checkpoint) / _WEIGHTS).read_bytes() == hub.files[_WEIGHTS]


@pytest.mark.slow
def test_the_command_fetches_and_checks(hub: Hub, url: str, root: Path, tmp_path: Path) -> None:
    hub.files["vae.npz"] = b"not fetched: the mask decoder has its own publisher"
    env = {**os.environ, "HF_ENDPOINT": url, "HF_TOKEN": "hf_test", "MASKQ_CACHE_DIR": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "local.models", *arguments]
        return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=120)

    assert "every file has its digest" not in run("check").stdout
    hub.status, hub.headers = 403, {"X-Error-Code": "GatedRepo"}
    refused = run("fetch", _NAME)
    assert refused.returncode == 1
    assert "has not accepted its licence" in refused.stderr
    assert "Traceback" not in refused.stderr
    hub.status = 200
    (tmp_path / "vae-oid.npz").write_bytes(b"damaged")
    fetched = run("fetch", _NAME)
    assert "wrong SHA-256" in fetched.stderr  # of the mask decoder: the checkpoint itself has arrived
    assert (tmp_path / "hub" / f"models--{_NAME.replace('/', '--')}" / "snapshots" / COMMIT / _WEIGHTS).exists()
    assert "yes" in next(line for line in run("list").stdout.splitlines() if line.startswith(_NAME))
