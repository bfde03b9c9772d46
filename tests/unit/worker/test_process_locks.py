"""Locks of real processes on a real file system."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from worker import process_locks
from worker.process_locks import ProcessLocks, WorkerRecord

_HOLD = """
import sys, time
from pathlib import Path
from worker.process_locks import ProcessLocks

locks = ProcessLocks(Path(sys.argv[1]))
locks.hold(sys.argv[2], "demo")
print("holds", flush=True)
time.sleep(60)
"""

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "workers"


@pytest.fixture
def start(root: Path, folder: Path) -> Iterator[Start]:
    """Starts a process that holds a lock under a name. All are killed after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _HOLD, str(folder), name]
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def _ended(folder: Path) -> list[str]:
    """Ids of the workers that have ended, as another process sees it. They are forgotten."""
    found: list[str] = []
    ProcessLocks(folder).visit_ended(lambda record: found.append(record.worker_id))
    return found


def test_the_end_of_a_killed_process_is_seen_once_and_a_living_one_is_not_seen(folder: Path, start: Start) -> None:
    killed, _ = start("killed"), start("living")
    assert _ended(folder) == []
    killed.kill()
    killed.wait()
    assert _ended(folder) == ["killed"]
    assert _ended(folder) == []


def test_a_frozen_process_has_not_ended(folder: Path, start: Start) -> None:
    frozen = start("frozen")
    frozen.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOWAIT)
    assert _ended(folder) == []
    frozen.send_signal(signal.SIGCONT)


def test_a_process_whose_parent_does_not_wait_for_it_has_ended(folder: Path, start: Start) -> None:
    zombie = start("zombie")
    zombie.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert _ended(folder) == ["zombie"]


def test_children_that_outlive_a_worker_do_not_hide_its_end(folder: Path) -> None:
    locks = ProcessLocks(folder)
    locks.hold("me", "demo")
    with subprocess.Popen(["sleep", "60"]) as child:
        locks.close()
        assert _ended(folder) == ["me"]
        child.kill()


def test_a_record_is_kept_until_its_visitor_succeeds(folder: Path) -> None:
    locks = ProcessLocks(folder)
    locks.hold("me", "demo")
    locks.close()

    def fail(record: WorkerRecord) -> None:
        assert (record.worker_id, record.model_id) == ("me", "demo")
        raise ConnectionError

    for _ in range(2):
        with pytest.raises(ConnectionError):
            ProcessLocks(folder).visit_ended(fail)
    assert _ended(folder) == ["me"]


def test_a_copy_of_the_folder_proves_nothing(folder: Path, tmp_path: Path) -> None:
    locks = ProcessLocks(folder)
    locks.hold("me", "demo")
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert _ended(copy) == []
    locks.close()


def test_a_record_of_another_kernel_proves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(process_locks, "boot_id", lambda: "another kernel")
        locks = ProcessLocks(folder)
        locks.hold("me", "demo")
        locks.close()
    assert _ended(folder) == []


def test_a_lock_that_is_being_made_is_not_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename
    seen: list[list[str]] = []

    def look_first(path: Path, target: Path) -> Path:
        seen.append(_ended(folder))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", look_first)
    ProcessLocks(folder).hold("me", "demo")
    assert seen == [[]]
    assert _ended(folder) == []


def test_a_record_that_cannot_be_removed_is_visited_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = ProcessLocks(folder)
    locks.hold("me", "demo")
    locks.close()

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert _ended(folder) == ["me"]
    assert _ended(folder) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"worker_id": ""}', b"\xff" * 10_000])
def test_a_file_that_is_no_record_is_left_alone(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "notes").write_bytes(content)
    assert _ended(folder) == []
    assert (folder / "notes").read_bytes() == content


def test_an_empty_id_is_no_record(folder: Path) -> None:
    locks = ProcessLocks(folder)
    locks.hold("me", "demo")
    (file,) = folder.iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "worker_id": ""}))
    locks.close()
    assert _ended(folder) == []


def test_what_is_no_file_is_left_alone(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert _ended(folder) == []


def test_without_a_folder_a_worker_runs_and_says_what_it_lacks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    locks = ProcessLocks(tmp_path / "file" / "workers")
    locks.hold("me", "demo")
    locks.visit_ended(lambda _: pytest.fail("there is none"))
    locks.close()
    assert "jobs wait for the end of their leases" in caplog.text


def test_workers_of_another_ledger_are_not_visited_and_a_password_does_not_matter(tmp_path: Path) -> None:
    def locks(url: str) -> ProcessLocks:
        return ProcessLocks.of(Settings.of(redis_url=url, cache_dir=tmp_path))

    def ended(url: str) -> list[str]:
        found: list[str] = []
        locks(url).visit_ended(lambda record: found.append(record.worker_id))
        return found

    own = locks("redis://worker:old@redis:6379/0")
    own.hold("me", "demo")
    own.close()
    assert ended("redis://redis:6380/0") == ended("redis://redis:6379/1") == ended("redis://other:6379/0") == []
    assert ended("redis://worker:new@redis:6379/0") == ["me"]


def test_workers_see_each_other_whatever_server_is_the_primary_and_however_the_sentinels_are_named(
    tmp_path: Path,
) -> None:
    def ended(url: str) -> list[str]:
        found: list[str] = []
        ProcessLocks.of(Settings.of(redis_url=url, cache_dir=tmp_path)).visit_ended(
            lambda record: found.append(record.worker_id)
        )
        return found

    own = ProcessLocks.of(Settings.of(redis_url="sentinel://w:old@one,two:26379/maskq/0", cache_dir=tmp_path))
    own.hold("me", "demo")
    own.close()
    assert ended("sentinel://one,two/other/0") == ended("sentinel://one,two/maskq/1") == ended("redis://one/0") == []
    assert ended("redis+sentinel://w:new@TWO,one:26379/maskq?sentinel_password=x") == ["me"]
