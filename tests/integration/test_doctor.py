"""`scripts/doctor` on a machine where all is well, and where something is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from local.broker import free_port
from testing.redis_group import RedisGroup
from testing.servers import embedded_broker, system_redis
from tests.misconfigurations import Place, place

pytestmark = pytest.mark.slow

Report = Callable[..., tuple[int, dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def examine(root: Path, tmp_path: Path) -> Report:
    """Runs the doctor with these variables. Returns its exit status, and its findings by area."""

    def examine(*options: str, **environment: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        data = ("--data", str(tmp_path / "data"))
        command = [sys.executable, "-m", "local.doctor", "--json", *data, "--port", str(free_port()), *options]
        inherited = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        done = subprocess.run(
            command, cwd=root, env={**inherited, **environment}, capture_output=True, text=True, check=False, timeout=60
        )
        assert "Traceback" not in done.stderr
        report = json.loads(done.stdout)
        areas: dict[str, list[dict[str, Any]]] = {}
        for finding in report["findings"]:
            areas.setdefault(finding["area"], []).append(finding)
            assert "\n" not in finding["text"]
            assert finding["level"] == "ok" or finding["advice"] or finding["area"] == "port"
        return done.returncode, areas

    return examine


def _texts(findings: list[dict[str, Any]], level: str) -> str:
    return "\n".join(finding["text"] for finding in findings if finding["level"] == level)


@pytest.fixture(scope="module")
def wrong_place() -> Iterator[Place]:
    with place() as here:
        yield here


def test_nothing_is_a_problem_where_all_is_well(examine: Report, tmp_path: Path) -> None:
    with embedded_broker(tmp_path) as url, Redis.from_url(url) as redis:
        redis.config_set("maxmemory", "1gb")
        status, found = examine(REDIS_URL=url, HF_TOKEN="hf_secret", MASKQ_MAX_BATCH="4")
    assert status == 0
    assert {level["level"] for findings in found.values() for level in findings} == {"ok"}
    texts = _texts(found["settings"], "ok")
    assert "MASKQ_MAX_BATCH=4" in texts
    assert "HF_TOKEN=***" in texts
    assert "appendfsync is always" in _texts(found["redis"], "ok")
    assert "demo: its files are complete" in _texts(found["model"], "ok")
    assert "a child process decodes images" in _texts(found["children"], "ok")
    assert found.keys() >= {"gpu", "disk", "images", "port", "clock", "python"}


def test_everything_that_is_wrong_is_found_at_once(examine: Report, wrong_place: Place) -> None:
    status, found = examine(
        *("--port", wrong_place.names["used"]),
        REDIS_URL="foo",
        MASKQ_MAX_BATCH="lots",
        MASKQ_MODEL_ID="nosuch",
        MASKQ_CACHE_DIR=f"{wrong_place.names['folder']}/file/cache",
        MASKQ_IMAGE_STORE="foo://",
    )
    assert status == 1
    wrong = _texts(found["settings"], "problem")
    assert "MASKQ_MAX_BATCH=lots" in wrong
    assert "REDIS_URL: must begin" in wrong
    assert "not examined" in _texts(found["redis"], "warning")
    assert "nosuch" in _texts(found["model"], "problem")
    assert "cannot be written" in _texts(found["disk"], "problem")
    assert "MASKQ_IMAGE_STORE=foo://" in _texts(found["images"], "problem")
    assert "another program uses it" in _texts(found["port"], "problem")
    assert found["python"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://127.0.0.1:{port}/0", "no server at 127.0.0.1"),
        ("redis://:wrong@{secured}/0", "WRONGPASS"),
        ("redis://weak:secret@{secured}/0", "does not let this user"),
        ("redis://:secret@{secured}/99", "database"),
        ("redis://{web}/0", "does not answer as Redis does"),
        ("redis://{forgetful}/0", "appendonly is no and must be yes"),
    ],
)
def test_a_redis_that_cannot_be_used_is_a_problem(examine: Report, wrong_place: Place, url: str, text: str) -> None:
    status, found = examine(REDIS_URL=url.format(**wrong_place.names))
    assert status == 1
    assert text in _texts(found["redis"], "problem")
    assert not any(secret in json.dumps(found) for secret in (":secret", ":wrong"))


def test_a_redis_that_works_only_for_now_is_a_warning(examine: Report, tmp_path: Path) -> None:
    with system_redis(tmp_path) as url:
        status, found = examine(REDIS_URL=url)
    assert status == 0
    warnings = _texts(found["redis"], "warning")
    assert "appendfsync is everysec" in warnings
    assert "has no maxmemory" in warnings


def test_a_replica_and_a_full_server_are_problems(examine: Report, tmp_path: Path) -> None:
    with system_redis(tmp_path) as url, Redis.from_url(url) as redis:
        redis.config_set("maxmemory", str(redis.info("memory")["used_memory"] * 11 // 10))
        _, found = examine(REDIS_URL=url)
        assert "it uses" in _texts(found["redis"], "problem")
        redis.config_set("maxmemory", "0")
        redis.replicaof("127.0.0.1", free_port())
        status, found = examine(REDIS_URL=url)
    assert status == 1
    assert "replica" in _texts(found["redis"], "problem")


def test_sentinels_that_do_not_answer_and_the_primary_are_reported(examine: Report, redis_group: RedisGroup) -> None:
    lost = redis_group.sentinels[0]
    redis_group.kill(lost)
    _, found = examine(REDIS_URL=f"{redis_group.url}?sentinel_password=")
    primary = f"127.0.0.1:{redis_group.primary().public_port}"
    assert f"2 of 3 name {primary} as the primary of maskq" in _texts(found["sentinels"], "ok")
    assert f"127.0.0.1:{lost.public_port} names no primary" in _texts(found["sentinels"], "warning")


@pytest.mark.parametrize(("confirmed", "is_whole"), [(0, False), (1, False), (2, True), (3, False)])
def test_the_doctor_says_what_replicas_promise(
    examine: Report, redis_group: RedisGroup, confirmed: int, is_whole: bool
) -> None:
    with redis_group.client(redis_group.primary()) as redis:
        redis.config_set("min-replicas-to-write", "2")
    _, found = examine(REDIS_URL=redis_group.url, MASKQ_CONFIRM_REPLICAS=str(confirmed))
    promise, warnings = _texts(found["redis"], "ok"), _texts(found["redis"], "warning")
    copies = f"of {confirmed} replica" if confirmed else "MASKQ_CONFIRM_REPLICAS is 0"
    assert copies in promise
    assert "2 replicas are connected; min-replicas-to-write is 2" in promise
    assert (f"MASKQ_CONFIRM_REPLICAS is {confirmed} and 2 replicas are connected" in warnings) == (not is_whole)


def test_the_doctor_says_that_a_user_may_not_wait_for_replicas(examine: Report, tmp_path: Path) -> None:
    with embedded_broker(tmp_path) as url, Redis.from_url(url) as redis:
        rules = "on >secret ~* &* +@all -wait -waitaof"
        redis.execute_command("ACL", "SETUSER", "maskq", *rules.split())
        url = url.replace("redis://", "redis://maskq:secret@")
        status, found = examine(REDIS_URL=url, MASKQ_CONFIRM_REPLICAS="1")
    assert status == 1
    assert "may not wait for replicas" in _texts(found["redis"], "problem")


def test_the_doctor_masks_both_passwords_of_a_url_with_sentinels(examine: Report) -> None:
    url = f"sentinel://maskq:hunter2@[::1]:{free_port()},127.0.0.1:{free_port()}/maskq/0?sentinel_password=hunter3"
    status, found = examine(REDIS_URL=url)
    assert status == 1
    assert "REDIS_URL=sentinel://maskq:***@[::1]" in _texts(found["settings"], "ok")
    assert "no sentinel names the primary" in _texts(found["redis"], "problem")
    assert "names 2 of them" in _texts(found["sentinels"], "warning")
    assert "hunter" not in json.dumps(found)


def test_files_of_a_model_that_are_missing_or_damaged_are_reported(examine: Report, tmp_path: Path, root: Path) -> None:
    name = "google/paligemma2-3b-mix-224"
    _, found = examine(MASKQ_MODEL_ID=name, MASKQ_CACHE_DIR=str(tmp_path), HF_TOKEN="")
    assert "HF_TOKEN is not set" in _texts(found["model"], "problem")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "model.safetensors").touch()
    status, found = examine(MASKQ_MODEL_ID=str(folder), MASKQ_CACHE_DIR=str(tmp_path))
    assert status == 1
    assert "has weights but no config.json" in _texts(found["model"], "problem")
    shutil.copytree(root / "models" / "demo", folder, dirs_exist_ok=True)
    (folder / "vae.npz").unlink()
    (tmp_path / "vae-oid.npz").write_bytes(b"damaged")
    status, found = examine(MASKQ_MODEL_ID=str(folder), MASKQ_CACHE_DIR=str(tmp_path))
    assert status == 1
    assert "has the wrong digest" in _texts(found["model"], "problem")


def test_child_processes_work_with_the_smallest_memory_that_is_allowed(examine: Report) -> None:
    _, found = examine(MASKQ_DECODE_MEMORY_BYTES="300000000")
    assert _texts(found["children"], "problem") == ""


def test_a_missing_package_is_reported_and_the_rest_is_examined(root: Path, tmp_path: Path) -> None:
    code = "import runpy, sys; sys.modules['PIL'] = None; runpy.run_module('local.doctor', run_name='__main__')"
    command = [sys.executable, "-c", code, "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "PIL" in done.stdout
    assert "demo: its files are complete" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_secret_that_stands_in_a_url_is_masked(examine: Report, wrong_place: Place) -> None:
    _, found = examine(REDIS_URL=f"redis://:secret@{wrong_place.names['secured']}/0")
    assert f"REDIS_URL=redis://:***@{wrong_place.names['secured']}/0" in _texts(found["settings"], "ok")
