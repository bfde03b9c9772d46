"""Errors of a Redis that is there and does not do what it is asked: every process goes on, and works when it does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from local.broker import free_port
from shared.store import key_names
from testing.servers import require_program, system_redis
from tests.integration.processes import PROGRAMS, Processes, running_processes

pytestmark = pytest.mark.slow

_TROUBLE_S = 2.5
"""Longer than the period of every periodic task, the heartbeat's of `SHORT_LEASES` included."""


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Redis]:
    """A client of a server on which maskq is a user that a test may change."""
    (tmp_path / "data").mkdir()
    with system_redis(tmp_path / "data") as url, Redis.from_url(url) as admin:
        _let_in(admin)
        yield admin


@pytest.fixture
def processes(admin: Redis, tmp_path: Path) -> Iterator[Processes]:
    url = f"redis://maskq:secret@127.0.0.1:{_port(admin)}/0"
    leases = {"MASKQ_GIVE_UP_S": "8", "MASKQ_LEASE_S": "10"}
    with running_processes(tmp_path, dict.fromkeys(PROGRAMS, url), **leases) as processes:
        processes.until(lambda: admin.exists(key_names.DELIVERERS) == 1)
        yield processes


def _let_in(admin: Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "maskq", "on", ">secret", "~*", "&*", "+@all")


def _clients(admin: Redis) -> list[dict[str, Any]]:
    return [client for client in admin.client_list() if client["user"] == "maskq"]


def _port(admin: Redis) -> int:
    return int(admin.connection_pool.connection_kwargs["port"])


# --- What goes wrong, and how it is mended ----------------------------------------------------------------------------


@contextmanager
def _replica(admin: Redis, folder: Path) -> Iterator[None]:
    admin.replicaof("127.0.0.1", str(free_port()))
    yield
    admin.replicaof("NO", "ONE")


@contextmanager
def _replica_without_data(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("replica-serve-stale-data", "no")
    with _replica(admin, folder):
        yield


@contextmanager
def _too_few_replicas(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("min-replicas-to-write", "1")
    yield
    admin.config_set("min-replicas-to-write", "0")


@contextmanager
def _full_memory(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("maxmemory", "1")
    yield
    admin.config_set("maxmemory", "0")


@contextmanager
def _unwritable_disk(admin: Redis, folder: Path) -> Iterator[None]:
    (folder / "data" / "dump.rdb").mkdir()  # an RDB can then not be renamed to it, not even by root
    admin.config_set("save", "1 0")
    admin.bgsave()
    deadline = time.monotonic() + 10
    while admin.info("persistence")["rdb_last_bgsave_status"] == "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield
    admin.config_set("save", "")
    (folder / "data" / "dump.rdb").rmdir()


@contextmanager
def _no_writing(admin: Redis, folder: Path) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "maskq", "-@write", "-evalsha")
    yield
    _let_in(admin)


@contextmanager
def _nothing_allowed(admin: Redis, folder: Path) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "maskq", "nocommands", "resetkeys", "resetchannels")
    yield
    _let_in(admin)


@contextmanager
def _shut_out(admin: Redis, folder: Path) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "maskq", "off")
    _disconnect(admin)
    yield
    _let_in(admin)


@contextmanager
def _endless_script(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("busy-reply-threshold", "100")
    process = subprocess.Popen(
        [require_program("redis-cli"), "-p", str(_port(admin)), "EVAL", "while true do end", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    admin.script_kill()
    process.wait(10)


def _disconnect(admin: Redis) -> None:
    for client in _clients(admin):
        admin.client_kill_filter(_id=client["id"])


@contextmanager
def _disconnected(admin: Redis, folder: Path) -> Iterator[None]:
    _disconnect(admin)
    yield


@contextmanager
def _unblocked(admin: Redis, folder: Path) -> Iterator[None]:
    deadline = time.monotonic() + 10
    while not (blocked := [client for client in _clients(admin) if client["cmd"] == "brpop"]):
        assert time.monotonic() < deadline
    for client in blocked:
        admin.execute_command("CLIENT", "UNBLOCK", client["id"], "ERROR")
    yield


_TROUBLES = {
    "READONLY": _replica,
    "MASTERDOWN": _replica_without_data,
    "NOREPLICAS": _too_few_replicas,
    "OOM": _full_memory,
    "MISCONF": _unwritable_disk,
    "NOPERM": _nothing_allowed,
    "NOPERM for writing": _no_writing,
    "WRONGPASS": _shut_out,
    "BUSY": _endless_script,
    "CLIENT KILL": _disconnected,
    "UNBLOCKED": _unblocked,
}
_HARMLESS = {"CLIENT KILL", "UNBLOCKED"}


@pytest.mark.parametrize("trouble", _TROUBLES)
def test_every_process_outlives_an_error_of_the_server(
    processes: Processes, admin: Redis, tmp_path: Path, trouble: str
) -> None:
    in_hand = processes.submit(prompt="slow cat")  # takes 0.4 s
    assert in_hand.status_code == 202
    with _TROUBLES[trouble](admin, tmp_path):
        deadline = time.monotonic() + _TROUBLE_S
        while time.monotonic() < deadline:
            processes.require_running()
            if trouble not in _HARMLESS:
                _require_refused(processes, "store_full" if trouble == "OOM" else "store_unavailable")
            time.sleep(0.2)
    processes.until(lambda: processes.submit().status_code == 202)
    afterwards = processes.submit().json()["id"]
    for job_id in (in_hand.json()["id"], afterwards):
        processes.until(lambda: processes.has_succeeded(job_id))  # noqa: B023  called at once
    processes.until(lambda: admin.exists(key_names.DELIVERERS) == 1)
    assert "attempt 2" not in processes.log("worker")
    assert "Traceback" not in processes.logs(), processes.logs()
    for name in PROGRAMS:
        assert processes.log(name).count("waiting for Redis") <= 2, processes.log(name)


def _require_refused(processes: Processes, kind: str) -> None:
    answer = processes.submit()
    assert (answer.status_code, answer.json()["type"]) == (503, kind), answer.text
    assert int(answer.headers["retry-after"]) > 0
