"""Disk full: jobs are refused clearly, nothing is corrupted, and every job accepted before is kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from local.broker import EmbeddedBroker
from shared.settings import Settings
from testing.pictures import encoded
from testing.servers import front_end

_NOISE = encoded(Image.effect_noise((700, 700), 90).convert("RGB"))  # about 1.2 MB that cannot be compressed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_full_disk_refuses_jobs_and_keeps_those_accepted(small_disk: Path) -> None:
    broker = EmbeddedBroker.prepare(small_disk / "broker")
    server = subprocess.Popen(broker.command, stdout=subprocess.DEVNULL)
    broker.wait()
    settings = Settings.of(redis_url=broker.url, redis_timeout_s=1, accept_unserved=True)
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=30) as client:
        accepted = _submit_until_refused(client)
        assert len(accepted) > 1
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        if server.poll() is not None:  # with `appendfsync always` it exits when it cannot write
            server = subprocess.Popen(broker.command, stdout=subprocess.DEVNULL)
        broker.wait()
        assert [client.get(f"/jobs/{job_id}").json()["status"] for job_id in accepted] == ["queued"] * len(accepted)
        assert _submit(client).status_code == 202
    server.terminate()
    server.wait(20)
    broker.lock.close()


def _submit(client: httpx2.Client) -> httpx2.Response:
    return client.post("/segment/", data={"prompt": "cat"}, files={"image_file": ("a.png", _NOISE)})


def _submit_until_refused(client: httpx2.Client) -> list[str]:
    """Submit until the disk is full. Returns the ids of the accepted jobs."""
    accepted: list[str] = []
    for _ in range(50):
        response = _submit(client)
        if response.status_code != 202:
            assert (response.status_code, response.json()["type"]) == (503, "store_unavailable")
            return accepted
        accepted.append(response.json()["id"])
    raise AssertionError("the disk never filled")
